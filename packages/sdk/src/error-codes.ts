// Made by `npm run docs` from apps/router/src/errors.ts. Change it there.

/**
 * Every code that MESH answers with, its HTTP status, OpenAI's word for the family, and whether the same request can
 * succeed later. docs/errors.md says what each of them means.
 */
export const ERROR_CODES = {
  invalid_request: { status: 400, type: 'invalid_request_error', retry: false },
  unsupported_parameter: { status: 400, type: 'invalid_request_error', retry: false },
  context_length_exceeded: { status: 400, type: 'invalid_request_error', retry: false },
  sealed_transport_required: { status: 400, type: 'invalid_request_error', retry: false },
  invalid_api_key: { status: 401, type: 'authentication_error', retry: false },
  key_revoked: { status: 401, type: 'authentication_error', retry: false },
  key_expired: { status: 401, type: 'authentication_error', retry: false },
  insufficient_credits: { status: 402, type: 'insufficient_quota', retry: false },
  limit_exceeded: { status: 402, type: 'insufficient_quota', retry: false },
  insufficient_scope: { status: 403, type: 'permission_error', retry: false },
  model_not_allowed: { status: 403, type: 'permission_error', retry: false },
  account_suspended: { status: 403, type: 'permission_error', retry: false },
  model_not_found: { status: 404, type: 'invalid_request_error', retry: false },
  not_found: { status: 404, type: 'invalid_request_error', retry: false },
  no_endpoint: { status: 404, type: 'invalid_request_error', retry: false },
  method_not_allowed: { status: 405, type: 'invalid_request_error', retry: false },
  request_timeout: { status: 408, type: 'invalid_request_error', retry: true },
  already_rotated: { status: 409, type: 'invalid_request_error', retry: false },
  idempotency_in_progress: { status: 409, type: 'invalid_request_error', retry: false },
  idempotency_replay: { status: 409, type: 'invalid_request_error', retry: false },
  idempotency_conflict: { status: 409, type: 'invalid_request_error', retry: false },
  privacy_unavailable: { status: 412, type: 'invalid_request_error', retry: false },
  payload_too_large: { status: 413, type: 'invalid_request_error', retry: false },
  unsupported_media_type: { status: 415, type: 'invalid_request_error', retry: false },
  undecryptable: { status: 422, type: 'invalid_request_error', retry: false },
  rate_limit_exceeded: { status: 429, type: 'rate_limit_error', retry: true },
  too_many_concurrent: { status: 429, type: 'rate_limit_error', retry: true },
  headers_too_large: { status: 431, type: 'invalid_request_error', retry: false },
  client_disconnected: { status: 499, type: 'invalid_request_error', retry: false },
  internal: { status: 500, type: 'server_error', retry: true },
  provider_error: { status: 502, type: 'server_error', retry: true },
  provider_overloaded: { status: 503, type: 'server_error', retry: true },
  storage_unavailable: { status: 503, type: 'server_error', retry: false },
  overloaded: { status: 503, type: 'server_error', retry: true },
  provider_timeout: { status: 504, type: 'server_error', retry: true },
} as const

export type ErrorCode = keyof typeof ERROR_CODES
