import { openaiErrorBody } from '@mesh/engine/shapes/openai-error.ts'
import type { Shape } from '@mesh/engine/shapes/shape.ts'
import { ERRORS, type ErrorCode, MeshError } from '../errors.ts'

/** An error as it leaves MESH: the same for Fastify, for raw sockets and for streams that have not begun. */
export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** From here on a client does better to fail than to hold its caller: its retry is switched off. */
const RETRY_AFTER_MS_MAX = 60_000
/** What 429 and 503 advise where nothing better is known. */
const RETRY_AFTER_MS_DEFAULT = 1_000

/**
 * Writes an error as an answer, in the envelope of the caller's shape, or OpenAI's outside of any. An internal error
 * says nothing but the request id.
 */
export function errorAnswer(
  error: MeshError,
  requestId: string,
  { errorBody, requestIdHeader }: Pick<Shape, 'errorBody' | 'requestIdHeader'> = {
    errorBody: openaiErrorBody,
  },
): ErrorAnswer {
  const shown =
    error.code === 'internal'
      ? new MeshError(
          'internal',
          `MESH failed on this request. Report it with the request id ${requestId}.`,
          {
            retry: error.retry,
          },
        )
      : error
  return {
    status: shown.status,
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'x-request-id': requestId,
      ...(requestIdHeader === undefined ? {} : { [requestIdHeader]: requestId }),
      ...shown.headers,
      ...retryHeaders(shown),
    },
    body: JSON.stringify(errorBody(shown.facts(), requestId)),
  }
}

function retryHeaders(error: MeshError): Record<string, string> {
  const advised = error.status === 429 || error.status === 503 ? RETRY_AFTER_MS_DEFAULT : undefined
  const retryAfterMs = error.retryAfterMs ?? advised
  const retry = error.retry && (retryAfterMs ?? 0) <= RETRY_AFTER_MS_MAX
  return {
    ...(retryAfterMs === undefined
      ? {}
      : {
          'retry-after': String(Math.ceil(retryAfterMs / 1_000)),
          'retry-after-ms': String(Math.ceil(retryAfterMs)),
        }),
    ...(retry ? {} : { 'x-should-retry': 'false' }),
  }
}

/** Fastify's own refusals in MESH's words. Its messages quote the request, so none of them is passed on. */
const FASTIFY_ERRORS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'unsupported_media_type',
    'Send the body as JSON, with the header Content-Type: application/json.',
  ],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'The body is not as long as Content-Length says.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['payload_too_large', 'The body is too large for this route.'],
  FST_ERR_BAD_URL: ['invalid_request', 'The URL holds a percent sign that does not begin a valid escape.'],
  FST_ERR_MAX_PARAM_LENGTH: ['invalid_request', 'A part of the URL is longer than any id of MESH.'],
  FST_ERR_ROUTE_MISSING_CONTENT_TYPE: ['method_not_allowed', 'No route of MESH takes the method QUERY.'],
}

/** Any thrown value as the error to answer with. What MESH did not throw itself becomes `internal`. */
export function asMeshError(error: unknown): MeshError {
  if (error instanceof MeshError) return error
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const known = typeof code === 'string' ? FASTIFY_ERRORS[code] : undefined
  if (known) return new MeshError(known[0], known[1], { cause: error })
  return new MeshError('internal', 'An unexpected error.', { cause: error })
}

/** Whether an error is MESH's own fault and belongs in the log. */
export function isOwnFault(error: MeshError): boolean {
  return error.code === 'internal' || (ERRORS[error.code].status >= 500 && error.cause !== undefined)
}
