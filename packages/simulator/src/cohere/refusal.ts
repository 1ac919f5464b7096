import type { ReadRequest, RefusalKind, Reply } from '../family.ts'

export function jsonHeaders(requestId: string): Record<string, string> {
  return { 'content-type': 'application/json', ...commonHeaders(requestId) }
}

export function streamHeaders(requestId: string): Record<string, string> {
  return { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', ...commonHeaders(requestId) }
}

function commonHeaders(requestId: string): Record<string, string> {
  return {
    'x-debug-trace-id': requestId,
    'x-endpoint-monthly-call-limit': '1000000',
    'x-trial-endpoint-call-limit': '500',
    'x-trial-endpoint-call-remaining': '499',
  }
}

export function refuse(status: number, message: string, requestId: string): Reply {
  return { status, headers: jsonHeaders(requestId), body: JSON.stringify({ id: requestId, message }) }
}

const refusals: Readonly<Record<RefusalKind, readonly [status: number, message: string]>> = {
  no_such_route: [404, 'not found, please check the path'],
  bad_json: [400, 'invalid request: could not parse the body as JSON'],
  bad_steering: [400, ''],
  too_large: [413, 'request entity too large'],
  rate_limit: [429, 'You are past the per minute request limit, please wait and try again later.'],
  overloaded: [503, 'The service is temporarily unavailable, please try again later.'],
  server_error: [500, 'internal server error, this has been reported to our developers'],
}

export function refusal(kind: RefusalKind, requestId: string, detail: string): Reply {
  const [status, message] = refusals[kind]
  const reply = refuse(status, kind === 'bad_steering' ? detail : message, requestId)
  return kind === 'rate_limit' ? { ...reply, headers: { ...reply.headers, 'retry-after': '1' } } : reply
}

export function unknownModel(name: string, requestId: string): ReadRequest {
  const message = `model '${name}' not found, make sure the correct model ID was used and that you have access to the model.`
  return { kind: 'refused', reply: refuse(404, message, requestId) }
}
