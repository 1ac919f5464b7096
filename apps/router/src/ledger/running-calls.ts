import type pg from 'pg'
import type { CallId } from '../ids.ts'
import type { ExtendDecision, ExtendRequest, HoldGranted, HoldRequest } from './books.ts'
import { payerColumns } from './hold-posting.ts'

const RESTORE_BATCH_MAX = 1_000

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
  readonly #calls = new Map<CallId, RunningCall>()

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
  }

  /** Puts back what the database has lost of these holds. Rejects with PostgreSQL's errors. */
  async restore(client: pg.Client, routerId: string, holdTtlMs: number): Promise<void> {
    const rows = [...this.#calls.values()].map(runningRow)
    for (let start = 0; start < rows.length; start += RESTORE_BATCH_MAX) {
      await client.query(`select restore_holds($1, $2, $3 * interval '1 millisecond')`, [
        JSON.stringify(rows.slice(start, start + RESTORE_BATCH_MAX)),
        routerId,
        holdTtlMs,
      ])
    }
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
