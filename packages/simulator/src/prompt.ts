import type { JsonObject } from './json.ts'
import type { PromptPart } from './prompt-cache.ts'

export interface ToolOffer {
  readonly name: string
  readonly schema: JsonObject
}

export type ToolUse =
  | { readonly kind: 'none' | 'free' | 'required' }
  | { readonly kind: 'named'; readonly name: string }

export type AnswerFormat =
  | { readonly kind: 'text' | 'json_object' }
  | { readonly kind: 'json_schema'; readonly schema: JsonObject }

/** What a request asks for, in whatever vendor's shape it came: all that an answer is made from. */
export interface Prompt {
  readonly model: string
  readonly stream: boolean
  /** In the order in which the vendor's prompt cache sees them. */
  readonly parts: readonly PromptPart[]
  readonly lastUserText: string
  /** Everything that instructs: system texts and the last user text. Searched for a wish for JSON. */
  readonly instructions: string
  /** An assistant text that the answer must continue (Anthropic's prefill). */
  readonly prefill: string
  /** How many tool results came since the last thing that the user said. */
  readonly toolResults: number
  readonly tools: readonly ToolOffer[]
  readonly toolUse: ToolUse
  readonly parallelToolCalls: boolean
  /** Says a sentence before it calls a tool of its own choice, as Claude does. */
  readonly announcesToolCalls: boolean
  readonly format: AnswerFormat
  /** How long it would think before it answers. */
  readonly reasoningTokens: number
  readonly outputTokensMax: number
  readonly stop: readonly string[]
  readonly choices: number
}
