import type { Endpoint, ProtocolName } from '@mesh/catalog/catalog.ts'
import { EMPTY_BUCKETS, inputTokens, outputTokens, type TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { Ask, InputBound } from './ask.ts'
import type { Candidate } from './plan.ts'
import type { MeteredUsage } from './run-outcome.ts'
import type { ReportedUsage, StreamEvent, UsageFlag } from './stream-event.ts'

/** The fair estimate: what English prose comes to with today's tokenizers, in bytes a token. */
const BYTES_PER_TOKEN_USUAL = 4
/** What a call of a tool costs around its name and arguments, and an answer around its text: at most, and usually. */
const TOOL_CALL_TOKENS_MAX = 64
const TOOL_CALL_TOKENS_USUAL = 8
const CHOICE_TOKENS_MAX = 16
/** No model behind any provider here writes faster. It bounds what a model thinks where it cannot be seen. */
const UNSEEN_TOKENS_PER_SECOND_MAX = 300
/** Formats that providers write around an answer, which no event shows: beyond it, a report cannot be true. */
const UNSEEN_FORMAT_TOKENS_MAX = 256
/** Fair estimates of input that is not text, for the rare answer without usage. */
const IMAGE_TOKENS_USUAL = 1_000
const FILE_TOKENS_USUAL = 3_000
const AUDIO_TOKENS_PER_SECOND_USUAL = 32

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
  readonly choices: number
  /** Whether the model may produce tokens that no event shows (`mayThinkUnseen`). */
  readonly thinksUnseen: boolean
  readonly startedAtMs: number
}

/**
 * Counts one attempt's output as it streams, in two ways.
 *
 * - `outputTokensMax` is safe and guards the hold: a token of any byte-level tokenizer is at least one byte, so what
 *   was seen is at most its UTF-8 bytes plus constants for the format around it; and what a model thinks unseen is at
 *   most its top speed times the time until each of its answers begins.
 * - `usage` is fair and is what is charged: the provider's report where it can be true, else four bytes a token of
 *   what was seen. Unseen thought is then not charged, for nobody can say what it was.
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

  /** The most that the output so far can come to. It never falls. */
  outputTokensMax(nowMs: number): number {
    return this.#seenTokensMax() + Math.max(this.#reasoningBytes, this.#unseenTokensMax(nowMs))
  }

  /**
   * What the attempt comes to. `whole` says that its terminal event came.
   *
   * - A whole answer: the provider's report; a side of it (input, output) that is missing, or zero although something
   *   went in or came out, is estimated and flagged `missing`.
   * - A part of an answer: the report's input; of its output and the estimate the larger, for providers send
   *   placeholders until the end.
   * - Never more than what is possible: input is lowered to the bound that was held (`exceeds_hold`) and to the
   *   context window (`exceeds_context`); output to what is held (`exceeds_hold`), and, where a model cannot think
   *   unseen, to the safe count of what was seen (`above_estimate`). Buckets are lowered in proportion.
   */
  usage(whole: boolean, outputTokensHeld: number): MeteredUsage {
    const flags = new Set<UsageFlag>(this.#reported?.flags)
    const reported = this.#reported?.buckets ?? EMPTY_BUCKETS
    const estimated = this.#estimate()
    const inputKnown = inputTokens(reported) > 0
    const outputKnown = whole
      ? outputTokens(reported) > 0 || outputTokens(estimated) === 0
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

  #seenTokensMax(): number {
    return (
      this.#answerBytes + this.#toolCalls * TOOL_CALL_TOKENS_MAX + this.#input.choices * CHOICE_TOKENS_MAX
    )
  }

  #unseenTokensMax(nowMs: number): number {
    if (!this.#input.thinksUnseen) return 0
    const thinking = Math.max(0, this.#input.choices - this.#begunChoices.size)
    const thoughtMs = this.#thoughtMs + thinking * (nowMs - this.#input.startedAtMs)
    return Math.ceil((thoughtMs * UNSEEN_TOKENS_PER_SECOND_MAX) / 1_000)
  }

  #estimate(): TokenBuckets {
    const answer =
      Math.ceil(this.#answerBytes / BYTES_PER_TOKEN_USUAL) + this.#toolCalls * TOOL_CALL_TOKENS_USUAL
    return {
      ...EMPTY_BUCKETS,
      input: this.#input.inputTokensUsual,
      output: answer,
      reasoning: Math.ceil(this.#reasoningBytes / BYTES_PER_TOKEN_USUAL),
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
    Math.ceil(bound.textTokens / BYTES_PER_TOKEN_USUAL) +
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

/** The length of a text in UTF-8, without making its bytes. A lone surrogate counts as the three bytes it becomes. */
function utf8Length(text: string): number {
  let bytes = text.length
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit < 0x80) continue
    if (unit < 0x800) bytes += 1
    else if (unit >= 0xd800 && unit <= 0xdbff && isLowSurrogate(text.charCodeAt(at + 1))) {
      // A pair is two units and four bytes.
      bytes += 2
      at++
    } else bytes += 2
  }
  return bytes
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}
