import { APIError, OpenAIError } from 'openai'
import { ERROR_CODES, type ErrorCode } from './error-codes.ts'

/** Why this client did not send a request, or did not believe what it was given. */
export type ClientErrorCode =
  | 'no_key'
  | 'not_a_mesh_key'
  | 'mistyped_key'
  | 'not_this_mesh'
  | 'sealing_not_available'
  | 'operator_key_missing'

/** Thrown before anything is sent. `message` says what to do, and never quotes a key. */
export class MeshClientError extends OpenAIError {
  readonly code: ClientErrorCode

  constructor(code: ClientErrorCode, message: string) {
    super(message)
    this.name = 'MeshClientError'
    this.code = code
  }
}

/** What a refusal of the books says: whose limit it was, what the call needed, and what was left. USD as decimal strings. */
export interface RefusedAmounts {
  readonly scope?: 'account' | 'project' | 'key'
  readonly limit?: string
  readonly neededUsd?: string
  readonly availableUsd?: string
}

/** Why endpoints were left out: each word, and the word of each endpoint. */
export interface Exclusions {
  readonly excluded_by: readonly string[]
  readonly endpoints: Readonly<Record<string, string>>
}

/** What is known of a stream that ended too early. */
export interface BrokenStream {
  readonly receipt_id?: string
  readonly usage?: Readonly<Record<string, unknown>>
  readonly attempts?: readonly Readonly<Record<string, unknown>>[]
}

/** What comes with an error, by its code. Whatever is not listed here comes as it is. */
export interface ErrorMetadata {
  insufficient_credits: RefusedAmounts
  limit_exceeded: RefusedAmounts
  rate_limit_exceeded: RefusedAmounts
  too_many_concurrent: RefusedAmounts
  insufficient_scope: { readonly scope?: string }
  model_not_found: { readonly nearest?: readonly string[] }
  no_endpoint: Exclusions
  model_not_allowed: Exclusions
  privacy_unavailable: Exclusions & { readonly offers: Readonly<Record<string, string>> }
  already_rotated: { readonly successorId: string }
  key_revoked: { readonly successorId?: string }
  idempotency_replay: { readonly receiptId: string | null; readonly totalUsd: string }
  provider_error: BrokenStream
  provider_overloaded: BrokenStream
  provider_timeout: BrokenStream
}

type MetadataOf<Code extends ErrorCode> = Code extends keyof ErrorMetadata
  ? ErrorMetadata[Code]
  : Readonly<Record<string, unknown>>

/** An error that MESH answered with: one of `APIError`'s own classes, whose `code` is in the table of `ERROR_CODES`. */
export type MeshError<Code extends ErrorCode = ErrorCode> = Code extends ErrorCode
  ? APIError & {
      readonly code: Code
      readonly error: { readonly message: string; readonly metadata?: MetadataOf<Code> }
    }
  : never

/**
 * Whether something that was thrown is an error of MESH, or of MESH with one of these codes. It holds for errors that
 * come in the middle of a stream as well.
 * @example
 * try {
 *   await mesh.chat.completions.create(call)
 * } catch (error) {
 *   if (!isMeshError(error, 'limit_exceeded')) throw error
 *   console.error(`${error.error.metadata?.limit} is used up`)
 * }
 */
export function isMeshError<Code extends ErrorCode = ErrorCode>(
  thrown: unknown,
  ...codes: readonly Code[]
): thrown is MeshError<Code> {
  if (!(thrown instanceof APIError) || typeof thrown.code !== 'string') return false
  const { code } = thrown
  return codes.length === 0 ? Object.hasOwn(ERROR_CODES, code) : codes.some((each) => each === code)
}
