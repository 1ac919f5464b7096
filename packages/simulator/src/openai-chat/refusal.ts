import type { RefusalKind, Reply } from '../family.ts'
import { accessDenied, azureRefusals, isGatewayProblem } from './azure.ts'
import type { ChatDialect } from './dialects.ts'

/** A fault of a request, in OpenAI's own terms. */
export interface Problem {
  readonly status: number
  readonly message: string
  readonly type: string | null
  readonly param: string | null
  readonly code: string | null
  /** Further fields of the error. */
  readonly beside?: object
}

export function invalid(message: string, param: string | null = null, code: string | null = null): Problem {
  return { status: 400, message, type: 'invalid_request_error', param, code }
}

export function jsonHeaders(requestId: string): Record<string, string> {
  return { 'content-type': 'application/json', 'openai-processing-ms': '1', ...commonHeaders(requestId) }
}

export function streamHeaders(requestId: string): Record<string, string> {
  return {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'openai-processing-ms': '1',
    ...commonHeaders(requestId),
  }
}

function commonHeaders(requestId: string): Record<string, string> {
  return {
    'x-request-id': requestId,
    'x-ratelimit-limit-requests': '10000',
    'x-ratelimit-remaining-requests': '9999',
    'x-ratelimit-reset-requests': '6ms',
    'x-ratelimit-limit-tokens': '2000000',
    'x-ratelimit-remaining-tokens': '1999000',
    'x-ratelimit-reset-tokens': '3ms',
  }
}

export function refuse(dialect: ChatDialect, problem: Problem, requestId: string): Reply {
  return {
    status: problem.status,
    headers: { ...jsonHeaders(requestId), 'content-type': 'application/json; charset=utf-8' },
    body: JSON.stringify(envelope(dialect, problem)),
  }
}

/** Mistral has no `error` around its errors, xAI's `error` is the message itself, and Azure's gateway says little. */
export function envelope(dialect: ChatDialect, problem: Problem) {
  const { message, type, param, code } = problem
  if (dialect.provider === 'mistral') return { object: 'error', message, type, param, code }
  if (dialect.provider === 'xai') return { code: xaiCodes[problem.status] ?? 'Unknown error', error: message }
  if (dialect.provider === 'azure' && isGatewayProblem(problem)) return { error: { code, message } }
  return { error: { message, type, param, code, ...problem.beside } }
}

const xaiCodes: Readonly<Record<number, string>> = {
  400: 'Client specified an invalid argument',
  401: 'Unauthenticated',
  404: 'Some requested entity was not found',
  413: 'Client specified an invalid argument',
  429: 'Some resource has been exhausted',
  500: 'Internal error',
  503: 'The service is currently unavailable',
}

/** The 422 by which pydantic refuses a field it does not know, as Mistral passes it on. */
export function extraForbidden(path: readonly string[], requestId: string): Reply {
  const detail = [{ type: 'extra_forbidden', loc: ['body', ...path], msg: 'Extra inputs are not permitted' }]
  const body = {
    object: 'error',
    message: { detail },
    type: 'invalid_request_error',
    param: null,
    code: null,
  }
  return { status: 422, headers: jsonHeaders(requestId), body: JSON.stringify(body) }
}

export function missingCredential(dialect: ChatDialect, requestId: string): Reply {
  if (dialect.provider === 'mistral') {
    return { status: 401, headers: jsonHeaders(requestId), body: JSON.stringify({ detail: 'Unauthorized' }) }
  }
  if (dialect.provider === 'azure') return refuse(dialect, accessDenied, requestId)
  const message =
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth " +
    '(i.e. Authorization: Bearer YOUR_KEY).'
  return refuse(dialect, { ...invalid(message), status: 401 }, requestId)
}

export const serverError: Problem = {
  status: 500,
  message: 'The server had an error while processing your request. Sorry about that!',
  type: 'server_error',
  param: null,
  code: null,
}

const retryAfterSeconds = 1

const refusals: Readonly<Record<RefusalKind, (detail: string) => Problem>> = {
  no_such_route: (detail) => ({ ...invalid(`Invalid URL (${detail})`), status: 404 }),
  bad_json: () => invalid('We could not parse the JSON body of your request.'),
  bad_steering: (detail) => invalid(detail, 'metadata.mesh_simulate', 'invalid_value'),
  too_large: () => ({ ...invalid('Request body is too large.'), status: 413 }),
  rate_limit: () => ({
    status: 429,
    message: `Rate limit reached for requests. Please try again in ${retryAfterSeconds}s.`,
    type: 'requests',
    param: null,
    code: 'rate_limit_exceeded',
  }),
  overloaded: () => ({
    status: 503,
    message: 'The engine is currently overloaded, please try again later.',
    type: 'service_unavailable',
    param: null,
    code: null,
  }),
  server_error: () => serverError,
}

export function refusal(dialect: ChatDialect, kind: RefusalKind, requestId: string, detail: string): Reply {
  const problem = dialect.provider === 'azure' ? azureProblem(kind) : undefined
  const reply = refuse(dialect, problem ?? refusals[kind](detail), requestId)
  if (kind !== 'rate_limit') return reply
  const headers = {
    ...reply.headers,
    'retry-after': String(retryAfterSeconds),
    'retry-after-ms': String(retryAfterSeconds * 1000),
    'x-ratelimit-remaining-requests': '0',
    'x-ratelimit-reset-requests': `${retryAfterSeconds}s`,
  }
  return { ...reply, headers }
}

function azureProblem(kind: RefusalKind): Problem | undefined {
  return kind === 'no_such_route' || kind === 'rate_limit' || kind === 'overloaded'
    ? azureRefusals[kind]
    : undefined
}
