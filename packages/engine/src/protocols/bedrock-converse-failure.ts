import type { Failure, FailureOutcome, FailureReason } from '../failure.ts'
import type { ResponseHeaders } from '../protocol.ts'
import { classifyAnswer } from '../upstream-failure.ts'
import { objectOf, parseJson, textOf } from '../wire-json.ts'

type Verdict = readonly [FailureOutcome, FailureReason]

/** What AWS's error types mean for a call. https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors */
const VERDICTS: ReadonlyMap<string, Verdict> = new Map([
  ['throttlingexception', ['refused_unbilled', 'rate_limited']],
  ['toomanyrequestsexception', ['refused_unbilled', 'rate_limited']],
  ['servicequotaexceededexception', ['refused_unbilled', 'quota_exhausted']],
  ['serviceunavailableexception', ['refused_unbilled', 'overloaded']],
  ['modelnotreadyexception', ['refused_unbilled', 'overloaded']],
  ['resourcenotfoundexception', ['refused_unbilled', 'model_not_found']],
  ['unknownoperationexception', ['refused_unbilled', 'model_not_found']],
  ['accessdeniedexception', ['refused_unbilled', 'credential_refused']],
  ['unrecognizedclientexception', ['refused_unbilled', 'credential_refused']],
  ['expiredtokenexception', ['refused_unbilled', 'credential_refused']],
  ['invalidsignatureexception', ['refused_unbilled', 'credential_refused']],
  ['incompletesignatureexception', ['refused_unbilled', 'credential_refused']],
  ['missingauthenticationtokenexception', ['refused_unbilled', 'credential_refused']],
  ['optinrequired', ['refused_unbilled', 'credential_refused']],
  // The model ran, or may have.
  ['modeltimeoutexception', ['uncertain', 'server_error']],
  ['modelerrorexception', ['uncertain', 'server_error']],
  ['modelstreamerrorexception', ['uncertain', 'server_error']],
  ['internalserverexception', ['uncertain', 'server_error']],
  ['internalfailure', ['uncertain', 'server_error']],
])

/** Everything that is wrong with a request is one type; what is wrong is told apart by the text alone. */
const VALIDATION = 'validationexception'
const VALIDATION_VERDICTS: readonly (readonly [RegExp, Verdict])[] = [
  [
    /too long|too many (input )?tokens|context (length|window|limit)|maximum (context|input|prompt) (length|size)|exceeds? the (maximum|limit).{0,40}(input|prompt)/,
    ['request_fault', 'context_length'],
  ],
  [
    /model identifier is invalid|invalid model|inference profile|on-demand throughput|model .{0,80}(not supported|end of (its )?life|legacy|not found)/,
    ['refused_unbilled', 'model_not_found'],
  ],
  [/content (filter|policy)|blocked by|guardrail/, ['request_fault', 'content_policy']],
  [
    /operation not allowed|access (to|is) .{0,40}(denied|not allowed)/,
    ['refused_unbilled', 'credential_refused'],
  ],
]

/**
 * Reads a non-2xx answer. AWS names the type in a header, or in `__type` behind a namespace; where neither came (a
 * proxy in between, records) the status decides, and for a 400 the text.
 */
export function classifyConverse(status: number, headers: ResponseHeaders, body: string): Failure {
  const byStatus = classifyAnswer(status, headers, body)
  const fields = objectOf(parseJson(body))
  const named = headerText(headers['x-amzn-errortype']) ?? textOf(fields?.__type) ?? textOf(fields?.code)
  const type = named === undefined && status === 400 ? VALIDATION : typeOf(named ?? '')
  const verdict = verdictOn(type, textOf(fields?.message) ?? textOf(fields?.Message) ?? '')
  return verdict ? { ...byStatus, outcome: verdict[0], reason: verdict[1] } : byStatus
}

/** Reads an exception in place of an event; after the head has come there is no status any more. */
export function streamException(name: string, message: string): Failure {
  const [outcome, reason] = verdictOn(typeOf(name), message) ?? ['uncertain', 'server_error']
  return { outcome, reason }
}

function verdictOn(type: string, message: string): Verdict | undefined {
  if (type !== VALIDATION) return VERDICTS.get(type)
  const text = message.slice(0, 2000).toLowerCase()
  return VALIDATION_VERDICTS.find(([words]) => words.test(text))?.[1] ?? ['request_fault', 'invalid_request']
}

/** `com.amazon.coral.service#ThrottlingException:http://…` is `throttlingexception`. */
function typeOf(name: string): string {
  const bare = name.slice(name.lastIndexOf('#') + 1).split(':', 1)[0] ?? ''
  return bare.trim().toLowerCase()
}

function headerText(value: string | readonly string[] | undefined): string | undefined {
  return textOf(typeof value === 'string' ? value : value?.[0])
}
