import type { RefusalKind, Reply } from '../family.ts'
import { uuidFrom } from '../seed.ts'

/** AWS's error types, with the status that each comes with. */
const statuses = {
  ValidationException: 400,
  SerializationException: 400,
  MissingAuthenticationTokenException: 403,
  IncompleteSignatureException: 403,
  UnrecognizedClientException: 403,
  UnknownOperationException: 404,
  RequestEntityTooLargeException: 413,
  ThrottlingException: 429,
  InternalServerException: 500,
  ServiceUnavailableException: 503,
} as const

export type ErrorType = keyof typeof statuses

export function jsonHeaders(requestId: string): Record<string, string> {
  return { 'content-type': 'application/json', 'x-amzn-requestid': uuidFrom(requestId, 'request') }
}

export function streamHeaders(requestId: string): Record<string, string> {
  return { ...jsonHeaders(requestId), 'content-type': 'application/vnd.amazon.eventstream' }
}

export function refuse(type: ErrorType, message: string, requestId: string): Reply {
  return {
    status: statuses[type],
    headers: { ...jsonHeaders(requestId), 'x-amzn-errortype': `${type}:http://internal.amazon.com/coral/` },
    body: JSON.stringify({ message }),
  }
}

export function refusal(kind: RefusalKind, requestId: string, detail: string): Reply {
  switch (kind) {
    case 'no_such_route':
      return refuse('UnknownOperationException', 'The requested operation is not recognized.', requestId)
    case 'bad_json':
      return refuse('SerializationException', 'The request body is not valid JSON.', requestId)
    case 'bad_steering':
      return refuse('ValidationException', detail, requestId)
    case 'too_large':
      return refuse('RequestEntityTooLargeException', 'The request body is too large.', requestId)
    case 'rate_limit':
      return refuse('ThrottlingException', 'Too many requests, please wait before trying again.', requestId)
    case 'overloaded':
      return refuse('ServiceUnavailableException', 'Bedrock is unable to process your request.', requestId)
    case 'server_error':
      return refuse(
        'InternalServerException',
        'The system encountered an unexpected error during processing. Try your request again.',
        requestId,
      )
  }
}
