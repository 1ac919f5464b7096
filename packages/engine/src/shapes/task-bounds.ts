/**
 * How much of everything a call for vectors or scores may hold, besides what every body may (`CHAT_BOUNDS`). Where
 * OpenAI publishes a bound it is OpenAI's, so that a call that runs there runs here.
 */
export const TASK_BOUNDS = {
  /** Texts of one call, and documents of one ranking. */
  textsMax: 2_048,
  /** Tokens of one text that comes as tokens. */
  tokensPerTextMax: 8_192,
  /** Vocabularies in use have some 262,000 tokens. */
  tokenMax: 10_000_000,
  dimensionsMax: 65_536,
  queryCharactersMax: 65_536,
} as const
