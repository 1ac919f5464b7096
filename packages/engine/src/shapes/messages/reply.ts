import { formatUsd } from '@mesh/catalog/money.ts'
import { outputTokens, type TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { JsonObject } from '../../ask.ts'
import type { FinishReason } from '../../stream-event.ts'
import type { ReplyUsage } from '../reply.ts'
import type { ErrorFacts } from '../shape.ts'

/**
 * Usage in Anthropic's shape, as JSON text: `input_tokens` leaves out what was read from and written to the cache,
 * `output_tokens` includes thinking. `cost` is written from its decimal digits, for money is never a `number` here.
 */
export function renderUsage({ buckets, upstreamNano, marginNano }: ReplyUsage): string {
  const total = formatUsd(upstreamNano + marginNano)
  return (
    `${usageMembers(buckets)},"cost":${total},"cost_details":{"upstream_cost":"${formatUsd(upstreamNano)}",` +
    `"margin":"${formatUsd(marginNano)}","total":"${total}"}}`
  )
}

/** Usage as a stream begins: nothing has come out yet, and what went in is as far as it is known. */
export function renderFirstUsage(input: TokenBuckets): string {
  return `${usageMembers({ ...input, output: 0, reasoning: 0, outputAudio: 0, outputImage: 0 })}}`
}

/** Without the closing brace. */
function usageMembers(buckets: TokenBuckets): string {
  const { cacheRead, cacheWrite5m, cacheWrite1h, reasoning } = buckets
  const input = buckets.input + buckets.inputAudio + buckets.inputImage
  return (
    `{"input_tokens":${input},"cache_creation_input_tokens":${cacheWrite5m + cacheWrite1h},` +
    `"cache_read_input_tokens":${cacheRead},"cache_creation":{"ephemeral_5m_input_tokens":${cacheWrite5m},` +
    `"ephemeral_1h_input_tokens":${cacheWrite1h}},"output_tokens":${outputTokens(buckets)},` +
    `"output_tokens_details":{"thinking_tokens":${reasoning}},"server_tool_use":null,"service_tier":"standard"`
  )
}

/** Why an answer ended, as far as a reply has heard. */
export interface Stop {
  reason: FinishReason | undefined
  sequence: string | undefined
}

/** What of an answer's content decides why it stopped. */
export interface StopContext {
  readonly calls: readonly unknown[]
  /** Whether the model said that it refuses. */
  readonly refused: boolean
}

/**
 * `stop_reason` and `stop_sequence`. OpenAI says of a call that it was told to make only that it stopped; clients go on
 * with their tools where they read `tool_use`. https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons
 */
export function stopMembers(
  { reason, sequence }: Stop,
  otherwise: FinishReason,
  { calls, refused }: StopContext,
): { readonly stop_reason: string; readonly stop_sequence: string | null } {
  const told = reason ?? otherwise
  const stopsForTools = told === 'stop' && sequence === undefined && calls.length > 0
  const known = stopsForTools ? 'tool_calls' : told
  if (refused && known === 'stop') return { stop_reason: 'refusal', stop_sequence: null }
  if (known === 'stop' && sequence !== undefined) {
    return { stop_reason: 'stop_sequence', stop_sequence: sequence }
  }
  return { stop_reason: STOP_REASONS[known], stop_sequence: null }
}

const STOP_REASONS: Readonly<Record<FinishReason, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
}

/** Anthropic's envelope. MESH's own word for the error, the field at fault and the facts stand beside its type. */
export function messagesErrorBody(error: ErrorFacts, requestId: string): JsonObject {
  return { type: 'error', error: messagesError(error), request_id: requestId }
}

export function messagesError({ status, code, message, param, metadata }: ErrorFacts): JsonObject {
  return {
    type: ERROR_TYPES.get(status) ?? (status < 500 ? 'invalid_request_error' : 'api_error'),
    message,
    code,
    param: param ?? null,
    ...(metadata ? { metadata } : {}),
  }
}

/** https://platform.claude.com/docs/en/api/errors. What is not listed there is the request's fault, or the API's. */
const ERROR_TYPES: ReadonlyMap<number, string> = new Map([
  [401, 'authentication_error'],
  [402, 'billing_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [503, 'overloaded_error'],
  [504, 'timeout_error'],
])
