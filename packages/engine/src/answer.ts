import { EMPTY_BUCKETS, type TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { Ask } from './ask.ts'
import type { Outlet } from './outlet.ts'
import type { Candidate } from './plan.ts'
import { type FinishReason, isOutput, type StreamEvent } from './stream-event.ts'

/**
 * Renders an answer in the caller's shape. It is opened once a call, when it is certain whose answer it is, and hears
 * only that endpoint's events, in order: everything but `usage`, `failure` and `end`. What it returns is written to a
 * caller who streams; for another it gathers. The closing text is not asked of it here: the router writes that when
 * the charge is durable.
 */
export interface Reply {
  event(event: StreamEvent): string
}

/** Called at most once, when it is certain who answers; with what went in, as far as it is known then. */
export type OpenReply = (served: Candidate, input: TokenBuckets) => Reply

export interface AnswerInput {
  readonly candidate: Candidate
  readonly ask: Ask
  readonly openReply: OpenReply
  /** What probably went in, in tokens: for as long as the provider has not said it. */
  readonly inputEstimate: number
  readonly outlet: Outlet
  /**
   * Where the answer is to be JSON and nothing holds its provider to it: nothing of its text leaves before it is whole;
   * of any JSON object, before it has begun with a brace.
   */
  readonly keepsBack?: 'json_object' | 'json_schema'
}

/**
 * One attempt's answer on its way to the reply. Until it has content that the caller would see, nothing of it leaves,
 * so that another attempt can take its place; for a caller who does not stream, until it is whole.
 */
export class Answer {
  readonly #input: AnswerInput
  #pending: StreamEvent[] = []
  #reply: Reply | undefined
  #reported: TokenBuckets | undefined
  #text = ''
  #said = ''
  #contentSent = false
  #firstContentAtMs: number | undefined
  #finishReason: FinishReason | undefined

  constructor(input: AnswerInput) {
    this.#input = input
  }

  /** Whether any byte of this answer left for the caller: from then on no other can take its place. */
  get contentSent(): boolean {
    return this.#contentSent
  }

  /** When the first output was taken, visible to the caller or not. */
  get firstContentAtMs(): number | undefined {
    return this.#firstContentAtMs
  }

  /** Why the first choice ended, or the first that ended. */
  get finishReason(): FinishReason | undefined {
    return this.#finishReason
  }

  /** What its first choice has said in text, where it is kept back to be looked at. */
  get said(): string {
    return this.#said
  }

  /** Whether nothing of it has been rendered: it can be given up, or changed. */
  get isKeptBack(): boolean {
    return this.#reply === undefined
  }

  /** Says something else in the place of the text of an answer that is kept back. */
  replaceText(text: string): void {
    const kept = this.#pending.filter(({ type }) => type !== 'text')
    const end = kept.findIndex(({ type }) => type === 'finish')
    this.#pending = kept.toSpliced(end === -1 ? kept.length : end, 0, { type: 'text', choice: 0, text })
  }

  take(event: StreamEvent, nowMs: number): void {
    if (this.#input.keepsBack && event.type === 'text' && event.choice === 0) this.#said += event.text
    if (event.type === 'usage') this.#reported = event.usage.buckets
    if (event.type === 'usage' || event.type === 'failure' || event.type === 'end') return
    if (event.type === 'finish' && (event.choice === 0 || !this.#finishReason))
      this.#finishReason = event.reason
    if (isOutput(event)) this.#firstContentAtMs ??= nowMs
    if (this.#input.outlet.isLeft) return
    if (this.#reply) {
      this.#text += this.#reply.event(event)
      return
    }
    this.#pending.push(event)
    if (this.#input.ask.stream && this.#isVisible(event)) this.#open()
  }

  /** Writes what was rendered since the last time. Resolves when the reader can take more. */
  flush(): Promise<void> {
    if (this.#text === '' || !this.#input.ask.stream) return Promise.resolve()
    const text = this.#text
    this.#text = ''
    this.#contentSent = true
    this.#input.outlet.open(this.#input.candidate)
    return this.#input.outlet.write(text)
  }

  /** The answer ends here, whole or cut: what was kept back goes out. */
  complete(): Promise<void> {
    this.#open()
    return this.flush()
  }

  #open(): void {
    if (this.#reply || this.#input.outlet.isLeft) return
    const { candidate, openReply, inputEstimate } = this.#input
    this.#reply = openReply(candidate, this.#reported ?? { ...EMPTY_BUCKETS, input: inputEstimate })
    for (const event of this.#pending) this.#text += this.#reply.event(event)
    this.#pending = []
  }

  #isVisible(event: StreamEvent): boolean {
    const { keepsBack } = this.#input
    if (keepsBack && (event.type === 'text' || event.type === 'reasoning')) {
      return keepsBack === 'json_object' && this.#said.trimStart().startsWith('{')
    }
    return isOutput(event) && !(event.type === 'reasoning' && this.#input.ask.reasoning?.exclude)
  }
}
