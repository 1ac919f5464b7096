import type { Shape } from '@mesh/engine/shapes/shape.ts'
import type { CallId } from '../ids.ts'
import type { Sensitive } from '../sensitive.ts'
import type { Answer } from './answer.ts'

/** One inference request, as the HTTP layer hands it over. */
export interface CallRequest {
  readonly id: CallId
  /** How it is written, and is to be answered. */
  readonly shape: Shape
  readonly secret: () => Sensitive<string>
  readonly idempotencyKey?: string
  /** Reads the body within its bounds. Called once, after the caller is known. */
  readonly readBody: () => Promise<unknown>
  readonly answer: Answer
  /** Calls `task` when the caller leaves before the answer has ended, at once where he has. */
  readonly whenClosed: (task: () => void) => void
}
