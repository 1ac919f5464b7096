import type { Ask, Task } from './ask.ts'
import type { Failure } from './failure.ts'
import type { StreamEvent, Vector } from './stream-event.ts'

/**
 * What an upstream was asked for, so that nothing else is taken for its answer: no more choices than that, and for a
 * task one vector of the right length for each input, or one score for each document that is wanted.
 */
export class ExpectedAnswer {
  readonly #task: Task | undefined
  readonly #choices: number
  readonly #answered = new Set<number>()
  #vectorLength: number | undefined

  constructor(ask: Ask, choices: number) {
    this.#task = ask.task
    this.#choices = choices
    if (ask.task?.type === 'embed') this.#vectorLength = ask.task.dimensions
  }

  /** Takes note of an event. False for one that was not asked for. */
  takes(event: StreamEvent): boolean {
    if (event.type === 'vector') return this.#takesVector(event.index, event.vector)
    if (event.type === 'score')
      return this.#task?.type === 'rank' && this.#takesIndex(event.index, this.#task.documents)
    return !('choice' in event) || (this.#task === undefined && event.choice < this.#choices)
  }

  /** What is wrong with an answer that ends here, where it is not all that was asked for. */
  get incomplete(): Failure | undefined {
    const missing = wantedOf(this.#task) - this.#answered.size
    if (missing <= 0) return undefined
    return { outcome: 'uncertain', reason: this.#answered.size === 0 ? 'empty' : 'malformed' }
  }

  #takesVector(index: number, vector: Vector): boolean {
    const length = lengthOf(vector)
    this.#vectorLength ??= length
    const fits = length > 0 && length === this.#vectorLength
    return fits && this.#task?.type === 'embed' && this.#takesIndex(index, this.#task.inputs)
  }

  #takesIndex(index: number, items: readonly unknown[]): boolean {
    if (!Number.isInteger(index) || index < 0 || index >= items.length || this.#answered.has(index))
      return false
    this.#answered.add(index)
    return true
  }
}

function wantedOf(task: Task | undefined): number {
  if (task === undefined) return 0
  if (task.type === 'embed') return task.inputs.length
  return Math.min(task.resultsMax ?? task.documents.length, task.documents.length)
}

const BYTES_PER_FLOAT = 4

function lengthOf(vector: Vector): number {
  if (typeof vector !== 'string') return vector.length
  const padding = vector.endsWith('==') ? 2 : vector.endsWith('=') ? 1 : 0
  return ((vector.length / 4) * 3 - padding) / BYTES_PER_FLOAT
}
