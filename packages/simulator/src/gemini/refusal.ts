import type { RefusalKind, Reply } from '../family.ts'
import type { JsonObject } from '../json.ts'

type Status =
  | 'INVALID_ARGUMENT'
  | 'PERMISSION_DENIED'
  | 'NOT_FOUND'
  | 'RESOURCE_EXHAUSTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'

/** https://ai.google.dev/gemini-api/docs/troubleshooting */
const codes: Readonly<Record<Status, number>> = {
  INVALID_ARGUMENT: 400,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  RESOURCE_EXHAUSTED: 429,
  INTERNAL: 500,
  UNAVAILABLE: 503,
}

export function jsonHeaders(): Record<string, string> {
  return { 'content-type': 'application/json; charset=UTF-8', ...commonHeaders }
}

export function streamHeaders(): Record<string, string> {
  return { 'content-type': 'text/event-stream', ...commonHeaders }
}

const commonHeaders = {
  vary: 'Origin, X-Origin, Referer',
  server: 'scaffolding on HTTPServer2',
  'x-content-type-options': 'nosniff',
} as const

function errorBody(status: Status, message: string, details: readonly JsonObject[] = []): string {
  const error = { code: codes[status], message, status, ...(details.length === 0 ? {} : { details }) }
  return JSON.stringify({ error }, undefined, 2)
}

export function refuse(status: Status, message: string, details: readonly JsonObject[] = []): Reply {
  return { status: codes[status], headers: jsonHeaders(), body: errorBody(status, message, details) }
}

export function overloaded(): string {
  return errorBody('UNAVAILABLE', 'The model is overloaded. Please try again later.')
}

/** A field that the API does not have. */
export function unknownField(name: string, place: string): Reply {
  const at = place === '' ? '' : ` at '${place}'`
  const description = `Invalid JSON payload received. Unknown name "${name}"${at}: Cannot find field.`
  return refuse('INVALID_ARGUMENT', description, [
    {
      '@type': 'type.googleapis.com/google.rpc.BadRequest',
      fieldViolations: [{ ...(place === '' ? {} : { field: place }), description }],
    },
  ])
}

const quotaExceeded: readonly JsonObject[] = [
  {
    '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
    violations: [
      {
        quotaMetric: 'generativelanguage.googleapis.com/generate_content_paid_tier_input_token_count',
        quotaId: 'GenerateContentPaidTierInputTokensPerModelPerMinute',
        quotaDimensions: { location: 'global' },
        quotaValue: '1000000',
      },
    ],
  },
  { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '1s' },
]

export function refusal(kind: RefusalKind, _requestId: string, detail: string): Reply {
  switch (kind) {
    case 'no_such_route':
      return refuse('NOT_FOUND', `The requested URL was not found on this server: ${detail}`)
    case 'bad_json':
      return refuse('INVALID_ARGUMENT', 'Invalid JSON payload received. Unexpected token.')
    case 'bad_steering':
      return refuse('INVALID_ARGUMENT', detail)
    case 'too_large':
      return refuse('INVALID_ARGUMENT', 'Request payload size exceeds the limit: 20971520 bytes.')
    case 'rate_limit':
      return refuse(
        'RESOURCE_EXHAUSTED',
        'You exceeded your current quota, please check your plan and billing details. Please retry in 1s.',
        quotaExceeded,
      )
    case 'overloaded':
      return { status: codes.UNAVAILABLE, headers: jsonHeaders(), body: overloaded() }
    case 'server_error':
      return refuse('INTERNAL', 'An internal error has occurred. Please retry or report it.')
  }
}
