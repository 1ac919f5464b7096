import type { Endpoint, ProtocolName } from '@mesh/catalog/catalog.ts'
import { EMPTY_BUCKETS, inputTokens, outputTokens, type TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { Ask, InputBound } from './ask.ts'
import type { Candidate } from './plan.ts'
import type { MeteredUsage } from './run-outcome.ts'
import type { ReportedUsage, StreamEvent, UsageFlag } from './stream-event.ts'
import { utf8Length } from './text-size.ts'

/** The fair estimate: what English prose comes to with today's tokenizers, in bytes a token. */
const BYTES_PER_TOKEN_USUAL = 4
/** What a message, and a call as a whole, cost beside their text: OpenAI's own count, and near what others come to. */
const MESSAGE_TOKENS_USUAL = 4
const CALL_TOKENS_USUAL = 3
/** What a call of a tool costs around its name and arguments, and an answer around its text: at most, and usually. */
const TOOL_CALL_TOKENS_MAX = 64
const TOOL_CALL_TOKENS_USUAL = 8
const CHOICE_TOKENS_MAX = 16
/** No model behind any provider here writes faster. It bounds what a model thinks where it cannot be seen. */
const UNSEEN_TOKENS_PER_SECOND_MAX = 300
/** What most models that think come to at the least, the time until they begin included: for the fair estimate. */
const UNSEEN_TOKENS_PER_SECOND_USUAL = 50
/** Formats that providers write around an answer, which no event shows: beyond it, a report cannot be true. */
const UNSEEN_FORMAT_TOKENS_MAX = 256
/** Fair estimates of input that is not text, for the rare answer without usage. */
const IMAGE_TOKENS_USUAL = 1_000
const FILE_TOKENS_USUAL = 3_000
const AUDIO_TOKENS_PER_SECOND_USUAL = 32

/** These show a summary of what was thought at most, so that its length does not say how much there was. */
const SUMS_THOUGHT_UP: ReadonlySet<ProtocolName> = new Set([
  'anthropic_messages',
  'bedrock_converse',
  'gemini',
])
/** These think only when asked to; the others may at any time. */
const THINKS_ONLY_WHEN_ASKED: ReadonlySet<ProtocolName> = new Set([
  'anthropic_messages',
  'bedrock_converse',
  'cohere_v2',
])

export interface MeterInput {
  readonly candidate: Candidate
  /** What the input probably comes to (`usualInputTokens`); charged only where the provider does not say. */
  readonly inputTokensUsual: number
  /** How many answers the provider was asked for (`Protocol.choices`). */
  readonly choices: number
  /** Whether the model may produce tokens that no event shows (`mayThinkUnseen`). */
  readonly thinksUnseen: boolean
  readonly startedAtMs: number
}

/** How an attempt ended, as far as it matters to what it is charged. */
export interface MeterEnd {
  /** Whether the terminal event came. */
  readonly whole: boolean
  readonly outputTokensHeld: number
  readonly endedAtMs: number
}

/**
 * Counts one attempt's output as it streams, in two ways.
 *
 * - `outputTokensMax` is safe and guards the hold: a token of any byte-level tokenizer is at least one byte, so what
 *   was seen is at most its UTF-8 bytes plus constants for the format around it; and what a model thinks unseen is at
 *   most its top speed times the time until each of its answers begins.
 * - `usage` is fair and is what is charged: the provider's report where it can be true, else four bytes a token of
 *   what was seen, and a usual speed times the same time for what was thought unseen.
 */
export class Meter {
  readonly #input: MeterInput
  readonly #begunChoices = new Set<number>()
  #answerBytes = 0
  #reasoningBytes = 0
  #toolCalls = 0
  #thoughtMs = 0
  #reported: ReportedUsage | undefined

  constructor(input: MeterInput) {
    this.#input = input
  }

  /** Takes note of what the upstream said. */
  count(event: StreamEvent, nowMs: number): void {
    switch (event.type) {
      case 'text':
      case 'refusal':
        this.#answer(event.choice, event.text, nowMs)
        break
      case 'tool-call':
        this.#toolCalls++
        this.#answer(event.choice, event.name, nowMs)
        break
      case 'tool-arguments':
        this.#answer(event.choice, event.fragment, nowMs)
        break
      case 'reasoning':
        this.#reasoningBytes += utf8Length(event.text)
        break
      case 'usage':
        this.#reported = event.usage
        break
      case 'reasoning-end':
      case 'finish':
      case 'failure':
      case 'end':
        break
    }
  }

  /** Whether tokens may be made that no event shows, so that the count grows with time alone. */
  get growsUnseen(): boolean {
    return this.#input.thinksUnseen && this.#begunChoices.size < this.#input.choices
  }

  /** Whether an answer has begun after thought of which nothing sure was shown: only its report tells how much. */
  get hidesThought(): boolean {
    return this.#input.thinksUnseen && this.#begunChoices.size > 0 && !this.#isThoughtShown
  }

  /** The most that the output so far can come to. It never falls. */
  outputTokensMax(nowMs: number): number {
    return this.#seenTokensMax() + Math.max(this.#reasoningBytes, this.#unseenTokensMax(nowMs))
  }

  /**
   * What the attempt comes to.
   *
   * - A whole answer: the provider's report; a side of it (input, output) that is missing, or zero although something
   *   went in or came out, is estimated and flagged `missing`.
   * - A part of an answer: the report's input; of its output and the estimate the larger, for providers send
   *   placeholders until the end.
   * - Never more than what is possible: input is lowered to the bound that was held (`exceeds_hold`) and to the
   *   context window (`exceeds_context`); output to what is held (`exceeds_hold`), and, where a model cannot think
   *   unseen, to the safe count of what was seen (`above_estimate`). Buckets are lowered in proportion.
   */
  usage({ whole, outputTokensHeld, endedAtMs }: MeterEnd): MeteredUsage {
    const flags = new Set<UsageFlag>(this.#reported?.flags)
    const reported = this.#reported?.buckets ?? EMPTY_BUCKETS
    const estimated = this.#estimate(endedAtMs)
    const inputKnown = inputTokens(reported) > 0
    const outputKnown = whole
      ? outputTokens(reported) > 0 || this.#isSilent
      : outputTokens(reported) >= outputTokens(estimated)
    if (whole && !(this.#reported && inputKnown && outputKnown)) flags.add('missing')
    const input = this.#boundInput(inputKnown ? reported : estimated, flags)
    const output = this.#boundOutput(outputKnown ? reported : estimated, outputTokensHeld, flags)
    return {
      buckets: { ...input, ...pick(output, OUTPUT_NAMES) },
      source: whole && !flags.has('missing') ? 'reported' : 'estimated',
      flags: [...flags],
    }
  }

  #answer(choice: number, text: string, nowMs: number): void {
    if (text === '') return
    this.#answerBytes += utf8Length(text)
    if (this.#begunChoices.has(choice)) return
    this.#begunChoices.add(choice)
    this.#thoughtMs += nowMs - this.#input.startedAtMs
  }

  /** Whether nothing came out that any event shows. */
  get #isSilent(): boolean {
    return this.#answerBytes + this.#reasoningBytes + this.#toolCalls === 0
  }

  /** Whether what was thought came out, word for word. */
  get #isThoughtShown(): boolean {
    return this.#reasoningBytes > 0 && !SUMS_THOUGHT_UP.has(this.#input.candidate.endpoint.protocol)
  }

  #seenTokensMax(): number {
    return (
      this.#answerBytes + this.#toolCalls * TOOL_CALL_TOKENS_MAX + this.#input.choices * CHOICE_TOKENS_MAX
    )
  }

  #unseenTokensMax(nowMs: number): number {
    return Math.ceil((this.#unseenMs(nowMs) * UNSEEN_TOKENS_PER_SECOND_MAX) / 1_000)
  }

  /** The time in which something may have been thought unseen: until each answer began, and added up. */
  #unseenMs(nowMs: number): number {
    if (!this.#input.thinksUnseen) return 0
    const thinking = Math.max(0, this.#input.choices - this.#begunChoices.size)
    return this.#thoughtMs + thinking * (nowMs - this.#input.startedAtMs)
  }

  #thoughtTokensUsual(nowMs: number): number {
    const seen = Math.ceil(this.#reasoningBytes / BYTES_PER_TOKEN_USUAL)
    if (this.#isThoughtShown) return seen
    return Math.max(seen, Math.ceil((this.#unseenMs(nowMs) * UNSEEN_TOKENS_PER_SECOND_USUAL) / 1_000))
  }

  #estimate(nowMs: number): TokenBuckets {
    const answer =
      Math.ceil(this.#answerBytes / BYTES_PER_TOKEN_USUAL) + this.#toolCalls * TOOL_CALL_TOKENS_USUAL
    return {
      ...EMPTY_BUCKETS,
      input: this.#input.inputTokensUsual,
      output: answer,
      reasoning: this.#thoughtTokensUsual(nowMs),
    }
  }

  #boundInput(buckets: TokenBuckets, flags: Set<UsageFlag>): TokenBuckets {
    const { endpoint, inputTokensMax } = this.#input.candidate
    const total = inputTokens(buckets)
    if (total > endpoint.contextTokens) flags.add('exceeds_context')
    if (total > inputTokensMax) flags.add('exceeds_hold')
    return lowered(buckets, INPUT_NAMES, Math.min(endpoint.contextTokens, inputTokensMax))
  }

  #boundOutput(buckets: TokenBuckets, outputTokensHeld: number, flags: Set<UsageFlag>): TokenBuckets {
    const total = outputTokens(buckets)
    let most = outputTokensHeld
    if (total > outputTokensHeld) flags.add('exceeds_hold')
    if (!this.#input.thinksUnseen) {
      const seenMax = this.#seenTokensMax() + this.#reasoningBytes + UNSEEN_FORMAT_TOKENS_MAX
      if (total > seenMax) flags.add('above_estimate')
      most = Math.min(most, seenMax)
    }
    return lowered(buckets, OUTPUT_NAMES, most)
  }
}

/** What the input probably comes to in tokens, and never more than its bound. */
export function usualInputTokens(bound: InputBound, inputTokensMax: number): number {
  const usual =
    Math.ceil(bound.textBytes / BYTES_PER_TOKEN_USUAL) +
    CALL_TOKENS_USUAL +
    bound.messages * MESSAGE_TOKENS_USUAL +
    bound.images * IMAGE_TOKENS_USUAL +
    bound.files * FILE_TOKENS_USUAL +
    Math.ceil(bound.audioSeconds * AUDIO_TOKENS_PER_SECOND_USUAL)
  return Math.min(usual, inputTokensMax)
}

/** Whether a model may think where no event shows it, or shows a summary only. */
export function mayThinkUnseen(endpoint: Endpoint, ask: Ask): boolean {
  const canThink = endpoint.reasoningOptions.length > 0 || endpoint.supportedParameters.includes('reasoning')
  if (!canThink) return false
  const asked = ask.reasoning !== undefined && ask.reasoning.effort !== 'none'
  return asked || !THINKS_ONLY_WHEN_ASKED.has(endpoint.protocol)
}

const INPUT_NAMES = [
  'input',
  'cacheRead',
  'cacheWrite5m',
  'cacheWrite1h',
  'inputAudio',
  'inputImage',
] as const
const OUTPUT_NAMES = ['output', 'reasoning', 'outputAudio', 'outputImage'] as const
type Names = readonly (keyof TokenBuckets)[]

/** The named buckets, lowered in proportion so that they sum to `most` at most. */
function lowered(buckets: TokenBuckets, names: Names, most: number): TokenBuckets {
  const total = names.reduce((sum, name) => sum + buckets[name], 0)
  if (total <= most) return { ...EMPTY_BUCKETS, ...pick(buckets, names) }
  const bounded: Partial<Record<keyof TokenBuckets, number>> = {}
  let left = Math.max(0, most)
  const factor = left / total
  for (const name of names) {
    const share = Math.min(left, Math.floor(buckets[name] * factor))
    bounded[name] = share
    left -= share
  }
  return { ...EMPTY_BUCKETS, ...bounded }
}

function pick(buckets: TokenBuckets, names: Names): Partial<TokenBuckets> {
  return Object.fromEntries(names.map((name) => [name, buckets[name]]))
}
