import type { Json, JsonObject } from './ask.ts'
import type { Failure, FailureOutcome, FailureReason } from './failure.ts'
import { googleStatusDetails } from './google-status.ts'
import type { ResponseHeaders } from './protocol.ts'
import { arrayOf, objectOf, parseJson, textOf } from './wire-json.ts'

/** The longest that a provider can make us wait. */
export const RETRY_AFTER_MS_MAX = 60 * 60 * 1000

/**
 * Reads a non-2xx answer of a provider that speaks OpenAI's or Anthropic's envelope, or any other body: HTML of a
 * proxy, nothing at all. Only a reason word comes out; the text itself goes no further.
 */
export function classifyAnswer(status: number, headers: ResponseHeaders, body: string): Failure {
  const fault = faultOf(parseJson(body))
  const retryAfterMs = retryAfterMsOf(headers) ?? fault.retryAfterMs
  return {
    ...verdict(status, fault),
    status,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  }
}

/**
 * Reads an error that came in place of an answer or of a part of it, under HTTP status 200. Returns `undefined` where
 * the message is no error. OpenAI, Groq and OpenRouter put it in `error`, Anthropic says `type: "error"`, Mistral
 * `object: "error"`; many name the event `error`.
 */
export function errorMessage(eventName: string, message: Json): Failure | undefined {
  const body = bodyOf(message)
  const isError =
    eventName === 'error' ||
    body?.type === 'error' ||
    body?.object === 'error' ||
    objectOf(body?.error) !== undefined ||
    textOf(body?.error) !== undefined
  if (!isError) return undefined
  const fault = faultOf(message)
  return {
    ...verdict(fault.status, fault),
    ...(fault.status === undefined ? {} : { status: fault.status }),
    ...(fault.retryAfterMs === undefined ? {} : { retryAfterMs: fault.retryAfterMs }),
  }
}

/** A body, or the first of a list of them: Google's streams are lists, also where all they hold is an error. */
function bodyOf(message: Json | undefined): JsonObject | undefined {
  return objectOf(message) ?? objectOf(arrayOf(message)[0])
}

/** What a provider said was wrong, in lower case, bounded. */
interface Fault {
  /** An HTTP status inside the body, where the answer itself came with 200. */
  readonly status: number | undefined
  /** The codes and types, such as `insufficient_quota`. */
  readonly words: string
  readonly message: string
  /** When to come back, where the body says it; bounded. */
  readonly retryAfterMs: number | undefined
}

function faultOf(body: Json | undefined): Fault {
  const outer = bodyOf(body)
  const inner = objectOf(outer?.error) ?? outer
  const message =
    textOf(inner?.message) ?? textOf(outer?.message) ?? textOf(outer?.detail) ?? textOf(outer?.error) ?? ''
  const words = [inner?.code, inner?.type, inner?.status, objectOf(inner?.innererror)?.code]
    .map((word) => (typeof word === 'string' ? word.slice(0, 100).toLowerCase() : ''))
    .join(' ')
  const details = googleStatusDetails(inner)
  return {
    status: statusOf(inner?.status_code) ?? statusOf(inner?.code) ?? statusOf(inner?.status),
    words: `${words} ${details.words}`,
    message: message.slice(0, 2000).toLowerCase(),
    retryAfterMs: details.retryAfterMs === undefined ? undefined : bounded(details.retryAfterMs),
  }
}

function statusOf(value: Json | undefined): number | undefined {
  const status = typeof value === 'string' && /^\d{3}$/.test(value) ? Number(value) : value
  return typeof status === 'number' && Number.isInteger(status) && status >= 400 && status < 600
    ? status
    : undefined
}

interface Rule {
  readonly outcome: FailureOutcome
  readonly reason: FailureReason
  readonly statuses?: readonly number[]
  readonly words?: RegExp
  /** Some faults are told apart by nothing but their text. It is only looked at for these statuses, or without one. */
  readonly message?: RegExp
  readonly messageStatuses?: readonly number[]
}

/** The first rule that matches decides. Words come before statuses: a 429 may mean "too fast" or "never again". */
const RULES: readonly Rule[] = [
  // Google says "you exceeded your current quota" of a minute's quota as well as of a day's.
  { outcome: 'refused_unbilled', reason: 'quota_exhausted', words: /perday/ },
  { outcome: 'refused_unbilled', reason: 'rate_limited', words: /per(second|minute)/ },
  {
    outcome: 'refused_unbilled',
    reason: 'quota_exhausted',
    statuses: [402],
    words:
      /insufficient_(quota|balance|credit)|exceeded_current_quota|billing|payment_required|credits?_exhausted/,
    message:
      /credit balance is too low|insufficient (balance|credit|funds)|exceeded your current quota|used all available credits|spending limit|usage limits/,
    messageStatuses: [400, 403, 429],
  },
  // Groq's word for tool calls and JSON that its model got wrong: the request is fine and another try may be too.
  { outcome: 'uncertain', reason: 'malformed', words: /tool_use_failed|json_validate_failed/ },
  {
    outcome: 'request_fault',
    reason: 'context_length',
    words: /context_length|context_window|prompt_too_long/,
    message:
      /context (length|window|limit)|prompt is too long|input is too long|too many (input )?tokens|reduce the length|maximum (prompt|input) length|token count .* exceeds the maximum/,
    messageStatuses: [400, 413, 422],
  },
  {
    outcome: 'request_fault',
    reason: 'content_policy',
    words:
      /content_?filter|content_?policy|moderation|responsible_?ai|data_inspection_failed|safety_violation/,
    message:
      /content (filter|management|moderation|policy)|usage (policy|policies|guidelines)|flagged (by|as|for)|safety system/,
    messageStatuses: [400, 403, 422],
  },
  {
    outcome: 'refused_unbilled',
    reason: 'rate_limited',
    statuses: [429],
    words: /rate_?limit|too_many_requests|resource_exhausted|throttl/,
  },
  {
    outcome: 'refused_unbilled',
    reason: 'overloaded',
    // 529 is Anthropic's, 498 Groq's word for "no capacity".
    statuses: [503, 529, 498],
    words: /overloaded|capacity|unavailable/,
  },
  {
    outcome: 'refused_unbilled',
    reason: 'model_not_found',
    statuses: [404],
    // The last two are Azure's, for a deployment that is not there or is of another kind of model.
    words:
      /model_not_(found|available|supported)|invalid_model|model_decommissioned|not_found_error|deploymentnotfound|operationnotsupported/,
    // DeepSeek's.
    message: /model (does )?not exist/,
    messageStatuses: [400],
  },
  {
    outcome: 'refused_unbilled',
    reason: 'credential_refused',
    statuses: [401, 403],
    // Google's precondition is that of the account: billing, or a country that it does not serve.
    words: /authentication|invalid_api_key|api_key_(invalid|expired)|permission|failed_precondition/,
    // xAI's, with a code that says only that an argument is wrong.
    message: /(incorrect|invalid) api key/,
    messageStatuses: [400],
  },
  {
    outcome: 'request_fault',
    reason: 'payload_too_large',
    statuses: [413],
    words: /request_too_large|payload_too_large/,
  },
  // The provider gave up waiting for us, or we for it: it may have worked.
  { outcome: 'uncertain', reason: 'server_error', statuses: [408, 425, 499], words: /timeout/ },
]

function verdict(
  status: number | undefined,
  fault: Fault,
): { readonly outcome: FailureOutcome; readonly reason: FailureReason } {
  for (const rule of RULES) {
    if (matches(rule, status, fault)) return { outcome: rule.outcome, reason: rule.reason }
  }
  const isRequestFault =
    status === undefined ? /invalid_request/.test(fault.words) : status >= 400 && status < 500
  return isRequestFault
    ? { outcome: 'request_fault', reason: 'invalid_request' }
    : { outcome: 'uncertain', reason: 'server_error' }
}

function matches(rule: Rule, status: number | undefined, fault: Fault): boolean {
  if (status !== undefined && rule.statuses?.includes(status)) return true
  if (rule.words?.test(fault.words)) return true
  if (!rule.message || (status !== undefined && !rule.messageStatuses?.includes(status))) return false
  return rule.message.test(fault.message)
}

/**
 * How long the provider asks us to stay away, in milliseconds, at most `RETRY_AFTER_MS_MAX`. `Retry-After` as a date is
 * measured from the answer's own `Date`, so that no clock of ours is needed.
 */
function retryAfterMsOf(headers: ResponseHeaders): number | undefined {
  const inMs = decimal(headerOf(headers, 'retry-after-ms'))
  if (inMs !== undefined) return bounded(inMs)
  const retryAfter = headerOf(headers, 'retry-after')
  const inSeconds = decimal(retryAfter)
  if (inSeconds !== undefined) return bounded(inSeconds * 1000)
  const until = Date.parse(retryAfter ?? '') - Date.parse(headerOf(headers, 'date') ?? '')
  return Number.isNaN(until) ? undefined : bounded(until)
}

function decimal(text: string | undefined): number | undefined {
  return text !== undefined && /^\s*\d{1,12}(\.\d{1,9})?\s*$/.test(text) ? Number(text) : undefined
}

function bounded(delayMs: number): number {
  return Math.min(Math.max(0, Math.ceil(delayMs)), RETRY_AFTER_MS_MAX)
}

function headerOf(headers: ResponseHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value : value?.[0]
}
