import type { RefusalKind, Reply } from '../family.ts'

export type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'not_found_error'
  | 'request_too_large'
  | 'rate_limit_error'
  | 'api_error'
  | 'overloaded_error'

const statuses: Readonly<Record<ErrorType, number>> = {
  invalid_request_error: 400,
  authentication_error: 401,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  overloaded_error: 529,
}

export function jsonHeaders(requestId: string): Record<string, string> {
  return { 'content-type': 'application/json', ...commonHeaders(requestId) }
}

export function streamHeaders(requestId: string): Record<string, string> {
  return {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    ...commonHeaders(requestId),
  }
}

function commonHeaders(requestId: string): Record<string, string> {
  return {
    'request-id': requestId,
    'anthropic-organization-id': '00000000-0000-4000-8000-000000000000',
    'anthropic-ratelimit-requests-limit': '4000',
    'anthropic-ratelimit-requests-remaining': '3999',
    'anthropic-ratelimit-tokens-limit': '2400000',
    'anthropic-ratelimit-tokens-remaining': '2399000',
  }
}

export function errorBody(type: ErrorType, message: string, requestId: string): string {
  return JSON.stringify({ type: 'error', error: { type, message }, request_id: requestId })
}

export function refuse(type: ErrorType, message: string, requestId: string): Reply {
  return {
    status: statuses[type],
    headers: jsonHeaders(requestId),
    body: errorBody(type, message, requestId),
  }
}

export function refusal(kind: RefusalKind, requestId: string, detail: string): Reply {
  switch (kind) {
    case 'no_such_route':
      return refuse('not_found_error', 'Not Found', requestId)
    case 'bad_json':
      return refuse('invalid_request_error', 'The request body is not valid JSON.', requestId)
    case 'bad_steering':
      return refuse('invalid_request_error', detail, requestId)
    case 'too_large':
      return refuse('request_too_large', 'Request exceeds the maximum size', requestId)
    case 'rate_limit': {
      const reply = refuse('rate_limit_error', 'This request would exceed your rate limit.', requestId)
      return { ...reply, headers: { ...reply.headers, 'retry-after': '1', 'x-should-retry': 'true' } }
    }
    case 'overloaded': {
      const reply = refuse('overloaded_error', 'Overloaded', requestId)
      return { ...reply, headers: { ...reply.headers, 'x-should-retry': 'true' } }
    }
    case 'server_error':
      return refuse('api_error', 'Internal server error', requestId)
  }
}
