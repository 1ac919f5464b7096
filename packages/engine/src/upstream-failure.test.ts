import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { JsonObject } from './ask.ts'
import { classifyAnswer, errorMessage, RETRY_AFTER_MS_MAX } from './upstream-failure.ts'

const openai = (code: string | null, type: string, message = '') =>
  JSON.stringify({ error: { message, type, param: null, code } })
const anthropic = (type: string, message = '') => JSON.stringify({ type: 'error', error: { type, message } })

const CASES: readonly (readonly [status: number, body: string, outcome: string, reason: string])[] = [
  [429, openai('rate_limit_exceeded', 'tokens'), 'refused_unbilled', 'rate_limited'],
  [429, openai('insufficient_quota', 'insufficient_quota'), 'refused_unbilled', 'quota_exhausted'],
  [429, '<html>Too many requests</html>', 'refused_unbilled', 'rate_limited'],
  [402, openai(null, 'unknown', 'Insufficient Balance'), 'refused_unbilled', 'quota_exhausted'],
  [
    400,
    anthropic('invalid_request_error', 'Your credit balance is too low to access the API.'),
    'refused_unbilled',
    'quota_exhausted',
  ],
  // Anthropic's word for a spending limit that the owner of the account has set.
  [
    400,
    anthropic('invalid_request_error', 'You have reached your specified API usage limits.'),
    'refused_unbilled',
    'quota_exhausted',
  ],
  // xAI's errors: a text beside a code in words, and 400 for a wrong key.
  [
    429,
    JSON.stringify({
      code: 'x',
      error: 'Your team has used all available credits or reached its monthly spending limit.',
    }),
    'refused_unbilled',
    'quota_exhausted',
  ],
  [
    400,
    JSON.stringify({
      code: 'Client specified an invalid argument',
      error: 'Incorrect API key provided: xa***yz.',
    }),
    'refused_unbilled',
    'credential_refused',
  ],
  [
    400,
    openai('invalid_request_error', 'invalid_request_error', 'Model Not Exist'),
    'refused_unbilled',
    'model_not_found',
  ],
  [401, openai('invalid_api_key', 'invalid_request_error'), 'refused_unbilled', 'credential_refused'],
  [401, anthropic('authentication_error'), 'refused_unbilled', 'credential_refused'],
  [403, anthropic('permission_error'), 'refused_unbilled', 'credential_refused'],
  [403, openai(null, 'x', 'Content violates usage guidelines.'), 'request_fault', 'content_policy'],
  [404, openai('model_not_found', 'invalid_request_error'), 'refused_unbilled', 'model_not_found'],
  [404, anthropic('not_found_error', 'model: claude-none'), 'refused_unbilled', 'model_not_found'],
  [404, '', 'refused_unbilled', 'model_not_found'],
  [
    400,
    JSON.stringify({ object: 'error', message: 'Invalid model: x', type: 'invalid_model', code: '1500' }),
    'refused_unbilled',
    'model_not_found',
  ],
  [400, openai('context_length_exceeded', 'invalid_request_error'), 'request_fault', 'context_length'],
  [
    400,
    openai(null, 'BadRequestError', "This model's maximum context length is 8192 tokens."),
    'request_fault',
    'context_length',
  ],
  [
    400,
    anthropic('invalid_request_error', 'prompt is too long: 208310 tokens > 200000 maximum'),
    'request_fault',
    'context_length',
  ],
  [
    400,
    anthropic('invalid_request_error', 'input length and `max_tokens` exceed context limit: 1 + 2 > 2'),
    'request_fault',
    'context_length',
  ],
  [
    400,
    anthropic('invalid_request_error', 'max_tokens: 99 > 64, which is the maximum allowed'),
    'request_fault',
    'invalid_request',
  ],
  [400, openai('content_filter', 'x'), 'request_fault', 'content_policy'],
  [
    400,
    anthropic('invalid_request_error', 'Output blocked by content filtering policy'),
    'request_fault',
    'content_policy',
  ],
  [400, openai('unsupported_value', 'invalid_request_error'), 'request_fault', 'invalid_request'],
  // Azure's gateway: a code and a message, and nothing else.
  [429, JSON.stringify({ error: { code: '429', message: 'x' } }), 'refused_unbilled', 'rate_limited'],
  [404, JSON.stringify({ error: { code: 'DeploymentNotFound' } }), 'refused_unbilled', 'model_not_found'],
  [400, JSON.stringify({ error: { code: 'OperationNotSupported' } }), 'refused_unbilled', 'model_not_found'],
  [
    400,
    JSON.stringify({ error: { code: null, innererror: { code: 'ResponsibleAIPolicyViolation' } } }),
    'request_fault',
    'content_policy',
  ],
  [
    422,
    JSON.stringify({ detail: [{ type: 'extra_forbidden', loc: ['body', 'x'] }] }),
    'request_fault',
    'invalid_request',
  ],
  [413, anthropic('request_too_large'), 'request_fault', 'payload_too_large'],
  [
    413,
    openai('rate_limit_exceeded', 'tokens', 'Request too large for model on tokens per minute'),
    'refused_unbilled',
    'rate_limited',
  ],
  [400, openai('tool_use_failed', 'invalid_request_error'), 'uncertain', 'malformed'],
  [408, '', 'uncertain', 'server_error'],
  [498, '', 'refused_unbilled', 'overloaded'],
  [503, 'upstream connect error', 'refused_unbilled', 'overloaded'],
  [529, anthropic('overloaded_error'), 'refused_unbilled', 'overloaded'],
  [500, anthropic('api_error'), 'uncertain', 'server_error'],
  [500, openai(null, 'server_error'), 'uncertain', 'server_error'],
  [502, '<html><h1>502 Bad Gateway</h1></html>', 'uncertain', 'server_error'],
  [504, '{', 'uncertain', 'server_error'],
  [302, '', 'uncertain', 'server_error'],
]

for (const [status, body, outcome, reason] of CASES) {
  test(`an answer ${status} ${body.slice(0, 90)} is ${outcome}, ${reason}`, () => {
    assert.deepEqual(classifyAnswer(status, {}, body), { outcome, reason, status })
  })
}

test('Retry-After is read in all its forms, and bounded', () => {
  const delay = (headers: Record<string, string | string[]>) => classifyAnswer(429, headers, '').retryAfterMs
  assert.equal(delay({ 'retry-after': '7' }), 7_000)
  assert.equal(delay({ 'retry-after': ['0.5'] }), 500)
  assert.equal(delay({ 'retry-after': '7', 'retry-after-ms': '12.1' }), 13)
  const date = 'Wed, 21 Oct 2026 07:28:00 GMT'
  assert.equal(delay({ date, 'retry-after': 'Wed, 21 Oct 2026 07:28:30 GMT' }), 30_000)
  assert.equal(delay({ date, 'retry-after': 'Wed, 21 Oct 2026 07:27:30 GMT' }), 0)
  assert.equal(delay({ 'retry-after': '99999999' }), RETRY_AFTER_MS_MAX)
  for (const nonsense of ['-1', 'soon', '', 'Infinity', '1e9', 'Wed, 21 Oct 2026 07:28:30 GMT']) {
    assert.equal(delay({ 'retry-after': nonsense }), undefined)
  }
})

/** An error of Google's, whose details say what its text does not. */
function googleError(code: number, status: string, ...details: readonly JsonObject[]) {
  const message =
    code === 429 ? 'You exceeded your current quota, please check your plan and billing details.' : 'x'
  return { error: { code, message, status, details } }
}

const rpc = (type: string, members: JsonObject) => ({
  '@type': `type.googleapis.com/google.rpc.${type}`,
  ...members,
})
const quota = (quotaId: string) => rpc('QuotaFailure', { violations: [{ quotaId }] })

test("Google's details tell a minute's quota from a day's, a key from a request, and when to come back", () => {
  const retry = rpc('RetryInfo', { retryDelay: '34.074824224s' })
  const cases = [
    [
      googleError(429, 'RESOURCE_EXHAUSTED', quota('InputTokensPerModelPerMinute'), retry),
      'rate_limited',
      34_075,
    ],
    [googleError(429, 'RESOURCE_EXHAUSTED', quota('RequestsPerDayPerProject')), 'quota_exhausted', undefined],
    [
      googleError(400, 'INVALID_ARGUMENT', rpc('ErrorInfo', { reason: 'API_KEY_INVALID' })),
      'credential_refused',
      undefined,
    ],
    [
      { error: { code: 400, message: 'User location is not supported', status: 'FAILED_PRECONDITION' } },
      'credential_refused',
      undefined,
    ],
    [
      { error: { code: 404, message: 'models/x is not found', status: 'NOT_FOUND' } },
      'model_not_found',
      undefined,
    ],
    [
      {
        error: {
          code: 400,
          message: 'The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).',
          status: 'INVALID_ARGUMENT',
        },
      },
      'context_length',
      undefined,
    ],
    [
      { error: { code: 400, message: 'Penalty is not enabled', status: 'INVALID_ARGUMENT' } },
      'invalid_request',
      undefined,
    ],
    [
      { error: { code: 504, message: 'Deadline expired', status: 'DEADLINE_EXCEEDED' } },
      'server_error',
      undefined,
    ],
  ] as const
  for (const [body, reason, retryAfterMs] of cases) {
    // Where a stream was asked for, errors come in a list.
    for (const text of [JSON.stringify(body), JSON.stringify([body])]) {
      const failure = classifyAnswer(body.error.code, {}, text)
      assert.deepEqual([failure.reason, failure.retryAfterMs], [reason, retryAfterMs])
    }
    assert.equal(errorMessage('', [body])?.reason, reason)
    assert.equal(errorMessage('', body)?.retryAfterMs, retryAfterMs)
  }
  const header = { 'retry-after': '2' }
  assert.equal(classifyAnswer(429, header, JSON.stringify(cases[0][0])).retryAfterMs, 2_000)
})

test('an error in place of an answer is told from an answer', () => {
  assert.equal(errorMessage('', { choices: [], error: null }), undefined)
  assert.equal(errorMessage('', { type: 'message_start' }), undefined)
  assert.deepEqual(errorMessage('error', { type: 'error', error: { type: 'overloaded_error' } }), {
    outcome: 'refused_unbilled',
    reason: 'overloaded',
  })
  assert.deepEqual(errorMessage('', { error: { code: 429, message: 'Provider returned error' } }), {
    outcome: 'refused_unbilled',
    reason: 'rate_limited',
    status: 429,
  })
  assert.deepEqual(errorMessage('', { object: 'error', message: 'no', code: '422' }), {
    outcome: 'request_fault',
    reason: 'invalid_request',
    status: 422,
  })
  assert.deepEqual(errorMessage('', { error: 'something broke' }), {
    outcome: 'uncertain',
    reason: 'server_error',
  })
})

test('no body makes the classification throw, and nothing of it comes out', () => {
  const body = fc.oneof(
    fc.string(),
    fc.json(),
    fc.json().map((json) => `{"error":${json}}`),
  )
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 999 }), body, (status, text) => {
      const failure = classifyAnswer(status, {}, text)
      assert.deepEqual(Object.keys(failure).sort(), ['outcome', 'reason', 'status'])
    }),
  )
})
