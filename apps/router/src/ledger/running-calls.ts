import type pg from 'pg'
import type { CallId } from '../ids.ts'
import { describeError, type Log } from '../log.ts'
import type { ExtendDecision, ExtendRequest, HoldGranted, HoldRequest } from './books.ts'
import { payerColumns } from './hold-posting.ts'

const RESTORE_BATCH_MAX = 1_000
/** How often it is looked whether somebody else's books are back, whose holds could not be put back. */
const RESTORE_AGAIN_MS = 250

export interface RunningCallsOptions {
  readonly pool: Pick<pg.Pool, 'query'>
  readonly routerId: string
  readonly holdTtlMs: number
  readonly log: Log
}

interface NotRestored {
  readonly call_id: CallId
  readonly outcome: 'busy' | 'spent' | 'refused'
}

interface RunningCall {
  readonly request: HoldRequest
  readonly heldNano: bigint
  readonly heldTokens: number
  readonly upstreamCeilingNano: bigint
}

/**
 * What this router holds money for: from the moment that a hold is granted until its settlement is posted. Known here
 * so that holds can be renewed, and put back where a crash of PostgreSQL lost them.
 */
export class RunningCalls {
  readonly #options: RunningCallsOptions
  readonly #calls = new Map<CallId, RunningCall>()
  /** Those whose holds wait to be put back, because somebody else has their book. */
  readonly #unrestored = new Set<CallId>()
  #again: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: RunningCallsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#calls.size
  }

  has(callId: CallId): boolean {
    return this.#calls.has(callId)
  }

  ids(): readonly CallId[] {
    return [...this.#calls.keys()]
  }

  begin(request: HoldRequest, { heldNano, outputTokens }: HoldGranted): void {
    this.#calls.set(request.callId, {
      request,
      heldNano,
      heldTokens: request.inputTokens + outputTokens,
      upstreamCeilingNano: request.upstreamCeilingNano,
    })
  }

  widen(request: ExtendRequest, { heldNano, outputTokens }: ExtendDecision): void {
    const call = this.#calls.get(request.callId)
    const addedTokens = outputTokens - request.outputTokensHeld
    if (call === undefined || addedTokens <= 0) return
    this.#calls.set(request.callId, {
      ...call,
      heldNano,
      heldTokens: call.heldTokens + addedTokens,
      upstreamCeilingNano:
        call.upstreamCeilingNano + (BigInt(addedTokens) * request.upstreamPicoPerToken + 999n) / 1000n,
    })
  }

  end(callId: CallId): void {
    this.#calls.delete(callId)
    this.#unrestored.delete(callId)
  }

  /** The books of which holds wait to be put back, as `account world`. */
  unrestoredBooks(): ReadonlySet<string> {
    const books = new Set<string>()
    for (const callId of this.#unrestored) {
      const payer = this.#calls.get(callId)?.request.payer
      if (payer) books.add(`${payer.accountId} ${payer.livemode}`)
    }
    return books
  }

  /**
   * Puts back what the database has lost of these holds. Those whose book somebody else has come back when he gives it
   * back; meanwhile they are among `unrestoredBooks`. Those whose money another router gave away by then never do: such
   * a call is widened no more, and charged only where its account still carries it. Rejects with PostgreSQL's errors.
   */
  async restore(client: Pick<pg.Client, 'query'>): Promise<void> {
    this.#unrestored.clear()
    await this.#restore(client, [...this.#calls.keys()])
    this.#restoreRestLater()
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#again)
  }

  async #restore(client: Pick<pg.Client, 'query'>, callIds: readonly CallId[]): Promise<void> {
    const { routerId, holdTtlMs, log } = this.#options
    for (let start = 0; start < callIds.length; start += RESTORE_BATCH_MAX) {
      const asked = callIds.slice(start, start + RESTORE_BATCH_MAX)
      const calls = asked.flatMap((callId) => this.#calls.get(callId) ?? [])
      const { rows } = await client.query<NotRestored>(
        `select * from restore_free_holds($1, $2, $3 * interval '1 millisecond')`,
        [JSON.stringify(calls.map(runningRow)), routerId, holdTtlMs],
      )
      for (const callId of asked) this.#unrestored.delete(callId)
      for (const { call_id: callId, outcome } of rows) {
        if (outcome === 'refused') log.error('a lost hold could not be put back', { callId })
        else if (outcome === 'spent') log.warn('what a lost hold held is spent by others', { callId })
        else if (this.#calls.has(callId)) this.#unrestored.add(callId)
      }
    }
  }

  #restoreRestLater(): void {
    clearTimeout(this.#again)
    if (this.#unrestored.size === 0 || this.#isClosed) return
    this.#again = setTimeout(() => {
      void this.#restore(this.#options.pool, [...this.#unrestored])
        .catch((error: unknown) => {
          this.#options.log.warn('lost holds wait for their books', describeError(error))
        })
        .then(() => this.#restoreRestLater())
    }, RESTORE_AGAIN_MS)
  }
}

function runningRow({ request, heldNano, heldTokens, upstreamCeilingNano }: RunningCall): object {
  return {
    ...payerColumns(request.callId, request.payer),
    held_nano: heldNano.toString(),
    held_tokens: heldTokens,
    upstream_ceiling_nano: upstreamCeilingNano.toString(),
    model: request.model,
    provider: request.provider,
    price_list_id: request.priceListId,
  }
}
