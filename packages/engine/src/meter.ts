import type { Endpoint, ProtocolName } from '@mesh/catalog/catalog.ts'
import { EMPTY_BUCKETS, inputTokens, outputTokens, type TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { Ask } from './ask.ts'
import { BYTES_PER_TOKEN_USUAL, type InputEstimate, SURPRISING_FACTOR } from './input-estimate.ts'
import type { Candidate } from './plan.ts'
import { effortAsked } from './reasoning.ts'
import type { MeteredUsage } from './run-outcome.ts'
import type { ReportedUsage, StreamEvent, UsageFlag } from './stream-event.ts'
import { BYTES_PER_TOKEN_MAX, utf8Length } from './text-size.ts'

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

/** These show a summary of what was thought at most, so that its length does not say how much there was. */
const SUMS_THOUGHT_UP: ReadonlySet<ProtocolName> = new Set([
  'anthropic_messages',
  'bedrock_converse',
  'gemini',
  'openai_responses',
])
/** These think only when asked to; the others may at any time. */
const THINKS_ONLY_WHEN_ASKED: ReadonlySet<ProtocolName> = new Set([
  'anthropic_messages',
  'bedrock_converse',
  'cohere_v2',
])

/** These bill nothing of what was thought, so that what they report may be less than what was seen. */
const THINKS_UNBILLED: ReadonlySet<ProtocolName> = new Set(['cohere_v2'])

export interface MeterInput {
  readonly candidate: Candidate
  /** What the input comes to by our own count (`estimateInput`). */
  readonly input: InputEstimate
  /** How many texts were read one by one (`InputBound.contexts`). */
  readonly contexts?: number
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
 *
 * `outputTokensMin` is what an answer has for certain: where that is more than was allowed, its provider does not stop.
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
        this.#reported = this.#reported ? later(this.#reported, event.usage) : event.usage
        break
      // Nobody is billed for vectors and scores, only for what they are made of.
      case 'vector':
      case 'score':
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

  /** The least that what was seen can come to. */
  get outputTokensMin(): number {
    return Math.floor((this.#answerBytes + this.#reasoningBytes) / BYTES_PER_TOKEN_MAX) + this.#toolCalls
  }

  /**
   * What the attempt comes to.
   *
   * - A whole answer: the provider's report; a side of it (input, output) that is missing, or zero although something
   *   went in or came out, is estimated and flagged `missing`; one that is less than is possible is estimated and
   *   flagged `below_estimate`.
   * - A part of an answer: the report's input; of its output and the estimate the larger, for providers send
   *   placeholders until the end.
   * - Never more than what is possible: input is lowered to the bound that was held (`exceeds_hold`) and to the
   *   context window (`exceeds_context`); output to what is held (`exceeds_hold`), and, where a model cannot think
   *   unseen, to the safe count of what was seen (`above_estimate`). Buckets are lowered in proportion.
   * - What is possible but far from our own estimate is charged as it is reported, and flagged `surprising`: text that
   *   tokenizers know badly comes to that, and so does a provider that miscounts.
   */
  usage({ whole, outputTokensHeld, endedAtMs }: MeterEnd): MeteredUsage {
    const flags = new Set<UsageFlag>(this.#reported?.flags)
    const reported = this.#reported?.buckets ?? EMPTY_BUCKETS
    const estimated = this.#estimate(endedAtMs)
    const inputDoubt = doubtOf(inputTokens(reported), this.#input.input.fewest)
    const outputDoubt = this.#isSilent ? undefined : doubtOf(outputTokens(reported), this.#billedTokensMin)
    const inputKnown = !inputDoubt
    const outputKnown = whole ? !outputDoubt : outputTokens(reported) >= outputTokens(estimated)
    if (!whole) {
      // Of a part of an answer nothing was to be told yet.
      flags.delete('missing')
    } else {
      if (!this.#reported) flags.add('missing')
      for (const doubt of [inputDoubt, outputDoubt]) if (doubt) flags.add(doubt)
    }
    const input = this.#boundInput(inputKnown ? reported : estimated, flags)
    const output = this.#boundOutput(outputKnown ? reported : estimated, outputTokensHeld, flags)
    const isCharged = whole && inputKnown && outputKnown && !LOWERED.some((flag) => flags.has(flag))
    if (isCharged && this.#isSurprising(reported, estimated)) flags.add('surprising')
    return {
      buckets: { ...input, ...pick(output, OUTPUT_NAMES) },
      source: whole && inputKnown && outputKnown && !flags.has('missing') ? 'reported' : 'estimated',
      flags: [...flags],
    }
  }

  /** The least of what was seen that a provider can bill. */
  get #billedTokensMin(): number {
    if (this.#billsThought) return this.outputTokensMin
    return Math.floor(this.#answerBytes / BYTES_PER_TOKEN_MAX) + this.#toolCalls
  }

  get #billsThought(): boolean {
    return !THINKS_UNBILLED.has(this.#input.candidate.endpoint.protocol)
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

  /** Whether a report is further from what we count than text usually is. Thought that is not seen is not judged. */
  #isSurprising(reported: TokenBuckets, estimated: TokenBuckets): boolean {
    const frame = this.#input.choices * CHOICE_TOKENS_MAX + this.#toolCalls * TOOL_CALL_TOKENS_MAX
    const [told, counted] = [outputTokens(reported), outputTokens(estimated)]
    const billed = this.#billsThought ? counted : estimated.output
    const isMuch = !this.#input.thinksUnseen && told > counted * SURPRISING_FACTOR + frame
    const isLittle = !this.#input.thinksUnseen && told * SURPRISING_FACTOR + frame < billed
    return isMuch || isLittle || inputTokens(reported) > this.#input.input.surprising
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
      input: this.#input.input.usual,
      output: answer,
      reasoning: this.#thoughtTokensUsual(nowMs),
    }
  }

  #boundInput(buckets: TokenBuckets, flags: Set<UsageFlag>): TokenBuckets {
    const { endpoint, inputTokensMax } = this.#input.candidate
    const contextTokens = endpoint.contextTokens * (this.#input.contexts ?? 1)
    const total = inputTokens(buckets)
    if (total > contextTokens) flags.add('exceeds_context')
    if (total > inputTokensMax) flags.add('exceeds_hold')
    return lowered(buckets, INPUT_NAMES, Math.min(contextTokens, inputTokensMax))
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

/**
 * Two reports of one answer: counts are sums so far, so the later one counts. One that shrinks on the way cannot be
 * true: of each side the larger is kept.
 */
function later(before: ReportedUsage, after: ReportedUsage): ReportedUsage {
  const inputShrinks = inputTokens(after.buckets) < inputTokens(before.buckets)
  const outputShrinks = outputTokens(after.buckets) < outputTokens(before.buckets)
  if (!inputShrinks && !outputShrinks) return after
  return {
    buckets: {
      ...EMPTY_BUCKETS,
      ...pick(inputShrinks ? before.buckets : after.buckets, INPUT_NAMES),
      ...pick(outputShrinks ? before.buckets : after.buckets, OUTPUT_NAMES),
    },
    flags: [
      ...new Set([
        ...before.flags.filter((flag) => flag !== 'missing'),
        ...after.flags,
        'shrinking' as const,
      ]),
    ],
  }
}

/** Why a side of a report cannot be believed: there is nothing, or less than is possible. */
function doubtOf(tokens: number, fewest: number): UsageFlag | undefined {
  if (tokens === 0) return 'missing'
  return tokens < fewest ? 'below_estimate' : undefined
}

/**
 * Whether a model may think where no event shows it, or shows a summary only. One that was told not to does not, unless
 * its endpoint has no word for that, so that the wish is among the parameters that were dropped.
 */
export function mayThinkUnseen(
  endpoint: Endpoint,
  ask: Ask,
  droppedParameters: readonly string[] = [],
): boolean {
  const canThink = endpoint.reasoningOptions.length > 0 || endpoint.supportedParameters.includes('reasoning')
  if (!canThink) return false
  const thinksUnasked = !THINKS_ONLY_WHEN_ASKED.has(endpoint.protocol)
  if (effortAsked(ask.reasoning) === 'none') {
    return thinksUnasked && droppedParameters.includes('reasoning.effort')
  }
  return ask.reasoning !== undefined || thinksUnasked
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
/** What says that a report was not charged as it is. */
const LOWERED = ['exceeds_context', 'exceeds_hold', 'above_estimate'] as const
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
