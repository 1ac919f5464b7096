import type pg from 'pg'
import type { BoundedQuery } from '../storage/database.ts'
import type { LockedBooks } from './batcher.ts'
import type {
  ExtendDecision,
  ExtendRequest,
  HoldDecision,
  HoldRefused,
  HoldRequest,
  LimitName,
  Payer,
  RateWindow,
} from './books.ts'
import { QUERY_TIMEOUT_MS } from './books-connection.ts'

/** What the hold function decides on: new holds and wider ones, in one batch and in the order of their arrival. */
export type Asking =
  | { readonly kind: 'hold'; readonly request: HoldRequest }
  | { readonly kind: 'extend'; readonly request: ExtendRequest }

/** A row that `hold_calls` answers with: see `hold_decision` in `storage/migrations/0002-books.sql`. */
export interface DecisionRow {
  readonly granted: boolean
  readonly held_nano: bigint | null
  readonly output_tokens: bigint | null
  readonly limit_name: LimitName | null
  readonly scope: NonNullable<HoldRefused['scope']> | null
  readonly reason: HoldRefused['reason'] | null
  readonly retry_after_ms: bigint | null
  readonly needed_nano: bigint | null
  readonly available_nano: bigint | null
  readonly request_limit: bigint | null
  readonly requests_remaining: bigint | null
  readonly token_limit: bigint | null
  readonly tokens_remaining: bigint | null
  readonly reset_ms: bigint | null
}

/** What `hold_free_calls` answers where somebody else has the account's book: see `0005-busy-books.sql`. */
interface BusyRow {
  readonly reason: 'busy'
}

export interface HoldTerms {
  readonly routerId: string
  readonly holdTtlMs: number
  /** The part of its account's balance that one key may hold; 10,000 is all of it. */
  readonly keyShareBasisPoints: number
}

/** Decides a batch in one statement. Where books that others have are skipped, the answer for their items is `busy`. */
export async function postHolds(
  client: pg.Client,
  batch: readonly Asking[],
  { routerId, holdTtlMs, keyShareBasisPoints }: HoldTerms,
  lockedBooks: LockedBooks,
): Promise<readonly (DecisionRow | 'busy')[]> {
  const name = lockedBooks === 'wait' ? 'hold_calls' : 'hold_free_calls'
  const statement: BoundedQuery = {
    name,
    text: `select * from ${name}($1, $2, $3 * interval '1 millisecond', $4)`,
    query_timeout: QUERY_TIMEOUT_MS,
    values: [JSON.stringify(batch.map(askingRow)), routerId, holdTtlMs, keyShareBasisPoints],
  }
  const { rows } = await client.query<DecisionRow | BusyRow>(statement)
  return rows.map((row) => (row.reason === 'busy' ? 'busy' : row))
}

function askingRow(asking: Asking, index: number): object {
  const columns = asking.kind === 'hold' ? holdColumns(asking.request) : extensionColumns(asking.request)
  return { place: index + 1, kind: asking.kind, ...columns }
}

function holdColumns(request: HoldRequest): object {
  return {
    ...payerColumns(request.callId, request.payer),
    policy_version: request.payer.policyVersion.toString(),
    input_nano: request.inputNano.toString(),
    input_tokens: request.inputTokens,
    output_pico: request.outputPicoPerToken.toString(),
    output_tokens_held: 0,
    output_tokens_wanted: request.outputTokensWanted,
    output_tokens_floor: request.outputTokensFloor,
    upstream_ceiling_nano: request.upstreamCeilingNano.toString(),
    model: request.model,
    provider: request.provider,
    price_list_id: request.priceListId,
  }
}

/** An extension is a call whose input and first output tokens are held already. */
function extensionColumns(request: ExtendRequest): object {
  return {
    ...payerColumns(request.callId, request.payer),
    input_nano: '0',
    input_tokens: 0,
    output_pico: request.outputPicoPerToken.toString(),
    output_tokens_held: request.outputTokensHeld,
    output_tokens_wanted: request.outputTokensWanted,
    output_tokens_floor: request.outputTokensHeld,
    upstream_pico: request.upstreamPicoPerToken.toString(),
  }
}

/** Whose call it is, in the columns that all the books' functions share. */
export function payerColumns(callId: string, payer: Payer): object {
  return {
    call_id: callId,
    account_id: payer.accountId,
    livemode: payer.livemode,
    project_id: payer.projectId,
    key_id: payer.keyId,
    lineage_id: payer.lineageId,
    parent_lineage_id: payer.parentLineageId,
  }
}

/** Reads the answer to a hold. */
export function holdDecision(row: DecisionRow): HoldDecision {
  const rates = rateWindow(row)
  if (row.granted) {
    return {
      granted: true,
      heldNano: row.held_nano ?? 0n,
      outputTokens: Number(row.output_tokens ?? 0n),
      ...(row.limit_name === null ? {} : { loweredBy: row.limit_name }),
      rates: rates ?? { resetMs: 0 },
    }
  }
  return {
    granted: false,
    reason: row.reason ?? 'stale',
    ...(row.scope === null ? {} : { scope: row.scope }),
    ...(row.limit_name === null ? {} : { limit: row.limit_name }),
    ...(row.retry_after_ms === null ? {} : { retryAfterMs: Number(row.retry_after_ms) }),
    ...(row.needed_nano === null ? {} : { neededNano: row.needed_nano }),
    ...(row.available_nano === null ? {} : { availableNano: row.available_nano }),
    ...(rates === undefined ? {} : { rates }),
  }
}

/** Reads the answer to an extension: what is held now, widened or not. */
export function extendDecision(row: DecisionRow): ExtendDecision {
  return {
    outputTokens: Number(row.output_tokens ?? 0n),
    heldNano: row.held_nano ?? 0n,
    ...(row.limit_name === null ? {} : { loweredBy: row.limit_name }),
  }
}

function rateWindow(row: DecisionRow): RateWindow | undefined {
  if (row.reset_ms === null) return undefined
  return {
    ...(row.request_limit === null ? {} : { requestLimit: Number(row.request_limit) }),
    ...(row.requests_remaining === null ? {} : { requestsRemaining: remaining(row.requests_remaining) }),
    ...(row.token_limit === null ? {} : { tokenLimit: Number(row.token_limit) }),
    ...(row.tokens_remaining === null ? {} : { tokensRemaining: remaining(row.tokens_remaining) }),
    resetMs: Number(row.reset_ms),
  }
}

/** A limit that was lowered below what is used leaves nothing, not less than nothing. */
function remaining(count: bigint): number {
  return count < 0n ? 0 : Number(count)
}
