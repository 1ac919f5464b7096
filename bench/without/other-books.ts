import type { Books } from '../../apps/router/src/ledger/books.ts'
import {
  type BooksOptions,
  createBooks as createWhole,
  type PostgresBooks,
} from '../../apps/router/src/ledger/postgres-books.ts'
import { leftOut } from './parts.ts'

export * from '../../apps/router/src/ledger/postgres-books.ts'

/** The books without what is left out. @public The preload puts it in the original's place. */
export function createBooks(options: BooksOptions): PostgresBooks {
  switch (leftOut()) {
    case 'metrics': {
      const { observer: _, ...unobserved } = options
      return createWhole(unobserved)
    }
    case 'disk':
      return withoutDisk(options)
    case 'receipts': {
      const books = createWhole(options)
      return changed(books, { settle: ({ receipt: _, ...rest }) => books.settle(rest) })
    }
    case 'settlements': {
      const books = createWhole(options)
      return changed(books, { settle: forgetting(books) })
    }
    case 'holds':
      return changed(createWhole(options), { hold: granting })
    case 'books': {
      const books = createWhole(options)
      return changed(books, { hold: granting, settle: forgetting(books) })
    }
    default:
      return createWhole(options)
  }
}

function changed(books: PostgresBooks, other: Partial<Books>): PostgresBooks {
  return {
    hold: (request) => books.hold(request),
    extend: (request) => books.extend(request),
    settle: (settlement, insteadIfLate) => books.settle(settlement, insteadIfLate),
    abandon: (callId) => books.abandon(callId),
    start: () => books.start(),
    reap: (asOf) => books.reap(asOf),
    renew: () => books.renew(),
    state: () => books.state(),
    drain: () => books.drain(),
    close: () => books.close(),
    ...other,
  }
}

function withoutDisk(options: BooksOptions): PostgresBooks {
  const books = createWhole(options)
  return {
    ...changed(books, {}),
    async start() {
      await options.database.pool.query('alter system set fsync = off')
      await options.database.pool.query('select pg_reload_conf()')
      await books.start()
    },
  }
}

const granting: Books['hold'] = ({ inputNano, outputTokensWanted, outputPicoPerToken }) =>
  Promise.resolve({
    granted: true,
    heldNano: inputNano + (outputPicoPerToken * BigInt(outputTokensWanted) + 999n) / 1_000n,
    outputTokens: outputTokensWanted,
    rates: { resetMs: 0 },
  })

/** What was held stays held, which no run of the bench is long enough to feel. */
function forgetting(books: Books): Books['settle'] {
  return ({ callId }) => {
    books.abandon(callId)
    return Promise.resolve({ duplicate: false })
  }
}
