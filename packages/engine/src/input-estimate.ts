import type { Ask, InputBound } from './ask.ts'
import { BYTES_PER_TOKEN_MAX } from './text-size.ts'

/** The fair estimate: what English prose comes to with today's tokenizers, in bytes a token. */
export const BYTES_PER_TOKEN_USUAL = 4
/** A report that is further than this from the fair estimate, either way, is possible and yet a surprise. */
export const SURPRISING_FACTOR = 2.5

/** What a message, and a call as a whole, cost beside their text: OpenAI's own count, and near what others come to. */
const MESSAGE_TOKENS_USUAL = 4
const CALL_TOKENS_USUAL = 3
/** Fair estimates of input that is not text, for the rare answer without usage. */
const IMAGE_TOKENS_USUAL = 1_000
const FILE_TOKENS_USUAL = 3_000
const AUDIO_TOKENS_PER_SECOND_USUAL = 32
/** What providers write before the first message and around tools: no surprise, however short the text is. */
const UNSEEN_INPUT_TOKENS_MAX = 1_024

/** What a call's input comes to, before its provider has counted it. In tokens. */
export interface InputEstimate {
  /** What it probably comes to, and never more than its bound; charged only where the provider is not believed. */
  readonly usual: number
  /** Fewer cannot be: no token is longer than the longest. */
  readonly fewest: number
  /** More is possible but a surprise. Infinity where input that is not text could be any size. */
  readonly surprising: number
}

/** Estimates what goes upstream. `inputTokensMax` is the bound that is held. */
export function estimateInput(ask: Ask, bound: InputBound, inputTokensMax: number): InputEstimate {
  const usual = usualInputTokens(bound, inputTokensMax)
  const isText = bound.images + bound.files + bound.audioSeconds === 0
  return {
    usual,
    fewest: leavesWhole(ask) ? Math.floor(bound.textBytes / BYTES_PER_TOKEN_MAX) : 0,
    surprising: isText ? usual * SURPRISING_FACTOR + UNSEEN_INPUT_TOKENS_MAX : Number.POSITIVE_INFINITY,
  }
}

/** Reasoning and signatures of earlier turns may be left out on the way, or count for nothing where they arrive. */
function leavesWhole({ messages }: Ask): boolean {
  return messages.every(
    (message) =>
      message.role !== 'assistant' ||
      (message.reasoning.length === 0 && message.toolCalls.every((call) => call.signature === undefined)),
  )
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
