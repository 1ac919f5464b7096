import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import { readKeyState } from '../../apps/router/src/accounts/caller.ts'
import { hashSecret } from '../../apps/router/src/accounts/key-secret.ts'
import { newId } from '../../apps/router/src/ids.ts'
import type { HoldRequest, Payer, Settlement } from '../../apps/router/src/ledger/books.ts'
import { openBooksConnection } from '../../apps/router/src/ledger/books-connection.ts'
import { postHolds } from '../../apps/router/src/ledger/hold-posting.ts'
import { postSettlements } from '../../apps/router/src/ledger/settlement-posting.ts'
import { receiptIdOf } from '../../apps/router/src/records/receipt.ts'
import { systemSeams } from '../../apps/router/src/seams.ts'
import { type Database, openDatabase } from '../../apps/router/src/storage/database.ts'
import { startEmbeddedPostgres } from '../../apps/router/src/storage/embedded-postgres.ts'
import { median } from '../load/load.ts'
import { cpuMicroseconds, treeOf } from '../machine/process-tree.ts'
import type { Part } from '../part.ts'
import { meshRouter, postmasterOf } from '../subjects/mesh.ts'
import { MODEL } from '../work.ts'

const BATCHES = [1, 32, 256]
const PRICE_LIST = 'bench'

interface Cost {
  readonly holdMs: number
  readonly settleMs: number
  readonly databaseUs: number
}

/** The functions of the books alone: one batch after the other on one connection. */
export const booksAlone: Part = {
  name: 'books',
  meaning: 'the hold and settlement functions in PostgreSQL, in batches of 1, 32 and 256',
  async run({ cores, seconds, tell }) {
    const running = await meshRouter({ cores }).start(1)
    try {
      const { connection } = await startEmbeddedPostgres({
        home: running.home,
        whenBusy: 'attach',
        notice: () => undefined,
      })
      const options = { poolSize: 2, applicationName: 'mesh-bench', statementTimeoutMs: 10_000 }
      const database = openDatabase(connection, options)
      try {
        const secret = running.headers.authorization?.replace('Bearer ', '') ?? ''
        const state = await readKeyState(database.query, { secretSha256: hashSecret(secret) })
        if (!state) throw new Error('the key of the bench is not there')
        const postmaster = await postmasterOf(running.home)
        const rows: string[][] = []
        const figures: Record<string, number> = {}
        for (const size of BATCHES) {
          tell(`books alone, batches of ${size}`)
          const cost = await costOf(database, state.caller.payer, size, seconds, postmaster)
          const each = (ms: number): string => ((ms * 1_000) / size).toFixed(1)
          figures[`books.${size}.databaseUs`] = cost.databaseUs
          rows.push([String(size), each(cost.holdMs), each(cost.settleMs), cost.databaseUs.toFixed(1)])
        }
        const columns = [
          'calls in a batch',
          'hold µs/call',
          'settlement µs/call',
          'PostgreSQL CPU µs/call, both',
        ]
        const title = 'hold_calls and settle_calls, one batch after the other, round trip and commit included'
        return { tables: [{ title, columns, rows }], figures, notes: [] }
      } finally {
        await database.close()
      }
    } finally {
      await running.stop()
    }
  },
}

async function costOf(
  database: Database,
  payer: Payer,
  size: number,
  seconds: number,
  postmaster: number,
): Promise<Cost> {
  const holding = await openBooksConnection(database, 'off')
  const settling = await openBooksConnection(database, 'on')
  const terms = { routerId: newId('rtr', systemSeams), holdTtlMs: 60_000, keyShareBasisPoints: 10_000 }
  const holds: number[] = []
  const settlements: number[] = []
  const round = async (): Promise<void> => {
    const requests = Array.from({ length: size }, () => holdRequest(payer))
    const startedAtMs = performance.now()
    const asked = requests.map((request) => ({ kind: 'hold' as const, request }))
    const decisions = await postHolds(holding, asked, terms, 'wait')
    const heldAtMs = performance.now()
    if (decisions.some((decision) => decision === 'busy' || !decision.granted)) throw new Error('not held')
    const ended = requests.map((request) => ({ settlement: settlementOf(request), withdraws: false }))
    await postSettlements(settling, ended, 'wait')
    holds.push(heldAtMs - startedAtMs)
    settlements.push(performance.now() - heldAtMs)
  }
  try {
    for (let time = 0; time < 50; time++) await round()
    holds.length = 0
    settlements.length = 0
    const before = cpuMicroseconds(treeOf(postmaster))
    const untilMs = performance.now() + seconds * 1_000
    while (performance.now() < untilMs) await round()
    const databaseUs = (cpuMicroseconds(treeOf(postmaster)) - before) / (holds.length * size)
    return { holdMs: median(holds), settleMs: median(settlements), databaseUs }
  } finally {
    await holding.end()
    await settling.end()
  }
}

function holdRequest(payer: Payer): HoldRequest {
  return {
    callId: newId('req', systemSeams),
    payer,
    inputNano: 400_000n,
    inputTokens: 200,
    outputPicoPerToken: 8_400_000n,
    outputTokensWanted: 256,
    outputTokensFloor: 256,
    upstreamCeilingNano: 2_448_000n,
    model: MODEL,
    provider: 'openai',
    priceListId: PRICE_LIST,
  }
}

function settlementOf({ callId, payer, provider }: HoldRequest): Settlement {
  return {
    callId,
    payer,
    heldNano: 2_550_400n,
    heldTokens: 456,
    totalNano: 987_000n,
    upstreamNano: 940_000n,
    absorbed: [],
    tokens: 230,
    provider,
    event: {
      createdAt: new Date(),
      modelRequested: MODEL,
      modelServed: MODEL,
      provider,
      httpStatus: 200,
      stream: false,
      billingReason: 'completed',
      finishReason: 'stop',
      usageSource: 'reported',
      usageFlags: [],
      buckets: { ...EMPTY_BUCKETS, input: 150, output: 80 },
      priceListId: PRICE_LIST,
      dispatchedAt: new Date(),
      attempts: [{ model: MODEL, provider, outcome: 'served', durationMs: 1 }],
      routing: { requested: [MODEL], mode: 'models', rule: 'price', selected: { model: MODEL, provider } },
      privacy: { requested: 'standard', class: 'standard', sealed: 'none', providerPlaintext: true },
      durationMs: 2,
    },
    receipt: { id: receiptIdOf(callId), payload: Buffer.alloc(1_000, 'x') },
  }
}
