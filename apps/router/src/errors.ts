import type { ErrorFacts } from '@mesh/engine/shapes/shape.ts'

/**
 * Every error that MESH answers with. Documents, OpenAPI and the SDK's errors come from this table, and a test
 * reaches every code. `type` is OpenAI's word for the family; `retry` is whether the same request can succeed later
 * without costing twice (else the answer carries `x-should-retry: false`).
 */
export const ERRORS = {
  invalid_request: {
    status: 400,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'The request is not of the form that this endpoint takes. `param` names the field.',
  },
  unsupported_parameter: {
    status: 400,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'The parameter would store, multiply or outsource the call, or is not offered here.',
  },
  context_length_exceeded: {
    status: 400,
    type: 'invalid_request_error',
    retry: false,
    meaning: "The input and the output asked for do not fit the model's context.",
  },
  sealed_transport_required: {
    status: 400,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'The policy in force wants a sealed call.',
  },
  invalid_api_key: {
    status: 401,
    type: 'authentication_error',
    retry: false,
    meaning: 'No key, or one that MESH does not know. A mistyped key is told apart by its checksum.',
  },
  key_revoked: {
    status: 401,
    type: 'authentication_error',
    retry: false,
    meaning: 'The key was revoked, or its grace after a rotation has ended.',
  },
  key_expired: {
    status: 401,
    type: 'authentication_error',
    retry: false,
    meaning: "The key's `expiresAt` has passed.",
  },
  insufficient_credits: {
    status: 402,
    type: 'insufficient_quota',
    retry: false,
    meaning: 'The balance cannot carry the least that this call may cost.',
  },
  limit_exceeded: {
    status: 402,
    type: 'insufficient_quota',
    retry: false,
    meaning: 'A limit of account, project or key cannot carry the call; `metadata` says which.',
  },
  insufficient_scope: {
    status: 403,
    type: 'permission_error',
    retry: false,
    meaning: 'The key lacks the scope that this endpoint wants.',
  },
  model_not_allowed: {
    status: 403,
    type: 'permission_error',
    retry: false,
    meaning: 'The limits of account, project or key do not allow this model or provider.',
  },
  account_suspended: {
    status: 403,
    type: 'permission_error',
    retry: false,
    meaning: 'The account is suspended or closed.',
  },
  model_not_found: {
    status: 404,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'No model has this name; `metadata.nearest` lists the nearest ones.',
  },
  not_found: {
    status: 404,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'There is no such resource for this key, or no such route.',
  },
  no_endpoint: {
    status: 404,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'Every endpoint of the model was excluded; `metadata.excluded_by` says by what.',
  },
  method_not_allowed: {
    status: 405,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'The route exists, the method does not.',
  },
  request_timeout: {
    status: 408,
    type: 'invalid_request_error',
    retry: true,
    meaning: 'The request did not arrive in time.',
  },
  already_rotated: {
    status: 409,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'The key has a successor; rotate that one.',
  },
  idempotency_in_progress: {
    status: 409,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'The first call with this key still runs.',
  },
  idempotency_replay: {
    status: 409,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'A call with this key was billed; its content is not kept. `metadata` has its receipt.',
  },
  idempotency_conflict: {
    status: 409,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'The key was used before with another body.',
  },
  privacy_unavailable: {
    status: 412,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'No candidate reaches the privacy class that was asked for.',
  },
  payload_too_large: {
    status: 413,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'The body is larger than this router takes.',
  },
  unsupported_media_type: {
    status: 415,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'The content type or encoding is not one that this endpoint takes.',
  },
  undecryptable: {
    status: 422,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'The sealed request cannot be opened.',
  },
  rate_limit_exceeded: {
    status: 429,
    type: 'rate_limit_error',
    retry: true,
    meaning: 'A per-minute limit of account, project or key is used up.',
  },
  too_many_concurrent: {
    status: 429,
    type: 'rate_limit_error',
    retry: true,
    meaning: 'As many calls run as the limits allow.',
  },
  headers_too_large: {
    status: 431,
    type: 'invalid_request_error',
    retry: false,
    meaning: "The request's headers are larger than this router takes.",
  },
  client_disconnected: {
    status: 499,
    type: 'invalid_request_error',
    retry: false,
    meaning: 'Recorded only: the caller left before the end.',
  },
  internal: {
    status: 500,
    type: 'server_error',
    retry: true,
    meaning: 'A fault of MESH. The request id finds it in the log.',
  },
  provider_error: {
    status: 502,
    type: 'server_error',
    retry: true,
    meaning: 'No provider gave a whole answer.',
  },
  provider_overloaded: {
    status: 503,
    type: 'server_error',
    retry: true,
    meaning: 'The providers refused for load; nothing was charged.',
  },
  storage_unavailable: {
    status: 503,
    type: 'server_error',
    retry: false,
    meaning: 'The books cannot be written, so nothing runs.',
  },
  overloaded: {
    status: 503,
    type: 'server_error',
    retry: true,
    meaning: 'This router has as much to do as it can, or is shutting down.',
  },
  provider_timeout: {
    status: 504,
    type: 'server_error',
    retry: true,
    meaning: 'The providers did not answer in time.',
  },
} as const satisfies Record<string, { status: number; type: string; retry: boolean; meaning: string }>

export type ErrorCode = keyof typeof ERRORS

export interface ErrorDetails {
  /** The request field at fault, as a path of known names. */
  readonly param?: string
  /** Structured facts that go out with the error. Never content. */
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly retryAfterMs?: number
  /** Headers that go out with the error, beyond those that every error has. */
  readonly headers?: Readonly<Record<string, string>>
  /** Overrides the table where a retry could cost twice. */
  readonly retry?: boolean
  /** For the log only; its message may hold anything, so only its name and code are written. */
  readonly cause?: unknown
}

/** The only class that the router throws on purpose. `message` says what to do and never quotes the request. */
export class MeshError extends Error {
  readonly code: ErrorCode
  readonly param: string | undefined
  readonly metadata: Readonly<Record<string, unknown>> | undefined
  readonly retryAfterMs: number | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly retry: boolean

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause })
    this.name = 'MeshError'
    this.code = code
    this.param = details.param
    this.metadata = details.metadata
    this.retryAfterMs = details.retryAfterMs
    this.headers = details.headers ?? {}
    this.retry = details.retry ?? ERRORS[code].retry
  }

  get status(): number {
    return ERRORS[this.code].status
  }

  /** What a shape puts into its envelope. */
  facts(): ErrorFacts {
    return {
      status: this.status,
      code: this.code,
      type: ERRORS[this.code].type,
      message: this.message,
      ...(this.param === undefined ? {} : { param: this.param }),
      ...(this.metadata ? { metadata: JSON.parse(JSON.stringify(this.metadata)) } : {}),
    }
  }
}
