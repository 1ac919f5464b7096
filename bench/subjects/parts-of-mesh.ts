import type { Transport } from '@mesh/engine/transport.ts'
import type { Authenticator } from '../../apps/router/src/accounts/authenticate.ts'
import type { Caller } from '../../apps/router/src/accounts/caller.ts'
import type { Mesh } from '../../apps/router/src/call/mesh.ts'
import type { Books } from '../../apps/router/src/ledger/books.ts'
import { JSON_ANSWER } from '../work.ts'

/** The parts whose cost is measured by leaving them out, one at a time. */
export const PARTS = {
  nothing: 'everything on, wired by the bench',
  limits: 'limits: the key has none',
  authentication: 'looking the key up: whoever calls is the first caller',
  receipts: "receipts' rows",
  metrics: 'metrics of the books',
  disk: 'waiting for the disk (fsync off)',
  settlements: 'settlements: calls end, and nothing is written',
  holds: 'holds: all are granted from memory',
  books: 'holds and settlements: no PostgreSQL on the path',
  upstream: 'the HTTP client: the provider answers from memory',
  'books-and-upstream': 'both of these',
} as const

export type PartName = keyof typeof PARTS

export function isPartName(name: string): name is PartName {
  return Object.hasOwn(PARTS, name)
}

/** The same router with a plain object in place of one part. */
export function withoutPart(part: PartName, mesh: Mesh): Mesh {
  const { books, engines } = mesh
  switch (part) {
    case 'nothing':
    case 'limits':
    case 'metrics':
    case 'disk':
      return mesh
    case 'authentication':
      return { ...mesh, authenticator: knowingOne(mesh.authenticator) }
    case 'receipts':
      return { ...mesh, books: withBooks(books, { settle: ({ receipt: _, ...rest }) => books.settle(rest) }) }
    case 'settlements':
      return { ...mesh, books: withBooks(books, { settle: forgetting(books) }) }
    case 'holds':
      return { ...mesh, books: withBooks(books, { hold: granting }) }
    case 'books':
      return { ...mesh, books: withBooks(books, { hold: granting, settle: forgetting(books) }) }
    case 'upstream':
      return { ...mesh, engines: { ...engines, live: { ...engines.live, transport: fromMemory } } }
    case 'books-and-upstream':
      return withoutPart('books', withoutPart('upstream', mesh))
  }
}

function withBooks(books: Books, changed: Partial<Books>): Books {
  return {
    hold: (request) => books.hold(request),
    extend: (request) => books.extend(request),
    settle: (settlement, insteadIfLate) => books.settle(settlement, insteadIfLate),
    abandon: (callId) => books.abandon(callId),
    ...changed,
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

function knowingOne(authenticator: Authenticator): Authenticator {
  let first: Promise<Caller> | undefined
  return {
    ...authenticator,
    authenticateForHold(secret) {
      first ??= authenticator.authenticateForHold(secret)
      return first
    },
  }
}

const ANSWER = Buffer.from(JSON_ANSWER)

const fromMemory: Transport = {
  send(_request, receiver) {
    setImmediate(() => {
      receiver.onSent()
      receiver.onHead(200, { 'content-type': 'application/json' })
      receiver.onChunk(ANSWER)
      receiver.onEnd()
    })
    return { pause() {}, resume() {}, abort() {} }
  },
  close: () => Promise.resolve(),
}
