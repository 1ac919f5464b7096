import { formatUsd } from '@mesh/catalog/money.ts'
import { inputTokens, outputTokens } from '@mesh/catalog/token-buckets.ts'
import type { Ask, JsonObject, ToolChoice } from '../../ask.ts'
import type { FinishReason } from '../../stream-event.ts'
import { openaiError } from '../openai-error.ts'
import { quote, type ReplyClosing, type ReplyFailure, type ReplyInfo, type ReplyUsage } from '../reply.ts'
import { itemJson, type Output } from './output.ts'

/** A response that has begun, as JSON. */
export function begunResponse(info: ReplyInfo): string {
  return quote({ ...head(info, 'in_progress'), output: [], usage: null })
}

/** Whether an answer ended before its model was done. */
export function isCut(reason: FinishReason): boolean {
  return reason === 'length' || reason === 'content_filter'
}

/** A response that is whole, or was cut. */
export function endedResponse(
  info: ReplyInfo,
  output: Output,
  reason: FinishReason,
  closing: ReplyClosing,
): string {
  const cut = isCut(reason)
  const body = {
    ...head(info, cut ? 'incomplete' : 'completed'),
    incomplete_details: cut ? { reason: reason === 'length' ? 'max_output_tokens' : 'content_filter' } : null,
    output: outputJson(output, cut),
    routing: closing.routing,
  }
  return `${quote(body).slice(0, -1)},"usage":${renderUsage(closing.usage)}}`
}

/** A response that failed, with what there is of it. Its error carries the receipt. */
export function failedResponse(info: ReplyInfo, output: Output, failure: ReplyFailure): string {
  const { usage } = failure
  const body = { ...head(info, 'failed'), error: failureJson(failure), output: outputJson(output, true) }
  return `${quote(body).slice(0, -1)},"usage":${usage ? renderUsage(usage) : 'null'}}`
}

/** The members of the event `error`, as OpenAI documents them and, within `error`, as its API sends them. */
export function failureMembers(failure: ReplyFailure): string {
  const error = failureJson(failure)
  const { code = null, message = null, param = null } = error
  return `,${quote({ code, message, param, error }).slice(1, -1)}`
}

function failureJson({ error, receiptId }: ReplyFailure): JsonObject {
  return openaiError({ ...error, metadata: { ...error.metadata, receipt_id: receiptId } })
}

function outputJson({ items }: Output, cut: boolean): readonly JsonObject[] {
  const last = items.length - 1
  return items.map((item, index) => itemJson(item, cut && index === last ? 'incomplete' : 'completed'))
}

/**
 * What every response holds, whole or not. What was asked is repeated as far as it says how to answer; instructions and
 * metadata, which OpenAI repeats too, are not sent around again.
 */
function head(info: ReplyInfo, status: string): JsonObject {
  const { ask, served } = info
  return {
    id: info.id,
    object: 'response',
    created_at: info.createdSeconds,
    status,
    background: false,
    error: null,
    incomplete_details: null,
    instructions: null,
    max_output_tokens: ask?.maxOutputTokens ?? null,
    max_tool_calls: null,
    metadata: null,
    model: served?.model ?? null,
    parallel_tool_calls: ask?.parallelToolCalls ?? true,
    previous_response_id: null,
    provider: served?.provider ?? null,
    reasoning: reasoningJson(ask),
    // Nothing is kept, whatever was asked.
    store: false,
    temperature: ask?.temperature ?? null,
    text: { format: { ...(ask?.responseFormat ?? { type: 'text' }) } },
    tool_choice: toolChoiceJson(ask?.toolChoice ?? 'auto'),
    tools: (ask?.tools ?? []).map((tool) => ({
      type: 'function',
      name: tool.name,
      description: tool.description ?? null,
      parameters: tool.parameters ?? null,
      strict: tool.strict ?? false,
    })),
    top_p: ask?.topP ?? null,
    truncation: 'disabled',
    user: null,
  }
}

function reasoningJson(ask: Ask | undefined): JsonObject {
  const { effort = null, summary = 'none' } = ask?.reasoning ?? {}
  return { effort, summary: summary === 'none' ? null : summary }
}

function toolChoiceJson(choice: ToolChoice): string | JsonObject {
  return typeof choice === 'string' ? choice : { type: 'function', name: choice.name }
}

/** Usage in OpenAI's shape, as JSON text, with what it costs. Money is written from its decimal digits. */
function renderUsage({ buckets, upstreamNano, marginNano }: ReplyUsage): string {
  const input = inputTokens(buckets)
  const output = outputTokens(buckets)
  const total = formatUsd(upstreamNano + marginNano)
  const cacheWrites = buckets.cacheWrite5m + buckets.cacheWrite1h
  return (
    `{"input_tokens":${input},` +
    `"input_tokens_details":{"cached_tokens":${buckets.cacheRead},"cache_write_tokens":${cacheWrites}},` +
    `"output_tokens":${output},"output_tokens_details":{"reasoning_tokens":${buckets.reasoning}},` +
    `"total_tokens":${input + output},"cost":${total},` +
    `"cost_details":{"upstream_cost":"${formatUsd(upstreamNano)}","margin":"${formatUsd(marginNano)}","total":"${total}"}}`
  )
}
