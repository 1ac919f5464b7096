import type { Model } from '@mesh/catalog/catalog.ts'
import type { Ask } from '@mesh/engine/ask.ts'
import { textsOf } from '@mesh/engine/ask-text.ts'
import { boundInput } from '@mesh/engine/input-bound.ts'
import { BYTES_PER_TOKEN_USUAL, usualInputTokens } from '@mesh/engine/input-estimate.ts'
import type { AccountId } from '../ids.ts'
import { encodingOf } from './encodings.ts'
import type { TokenCounting } from './token-counting.ts'

/** How many tokens something has, and how that is known. */
export interface TokenCount {
  readonly inputTokens: number
  readonly isExact: boolean
  /** `o200k_base`; `estimate:o200k_base` where it is not the model's own vocabulary, or not all was counted with it. */
  readonly method: string
}

/** The tokens of texts alone. */
export async function countTexts(
  counting: TokenCounting,
  accountId: AccountId,
  model: Model,
  texts: readonly string[],
): Promise<TokenCount> {
  const { name, isOwn } = encodingOf(model)
  const { tokens, isExact } = await counting.count(accountId, name, texts)
  return countOf(tokens, isOwn && isExact, name)
}

/**
 * The tokens of a whole call. What a provider writes around messages and tools, and what it makes of images, it alone
 * knows, so that this is never exact.
 */
export async function countAsk(
  counting: TokenCounting,
  accountId: AccountId,
  model: Model | undefined,
  ask: Ask,
): Promise<TokenCount> {
  const { name } = encodingOf(model)
  const { tokens } = await counting.count(accountId, name, textsOf(ask))
  const bound = boundInput(ask)
  const ofTexts = Math.ceil(bound.textBytes / BYTES_PER_TOKEN_USUAL)
  const besides = usualInputTokens(bound, Number.MAX_SAFE_INTEGER) - ofTexts
  return countOf(tokens + besides, false, name)
}

function countOf(inputTokens: number, isExact: boolean, encoding: string): TokenCount {
  return { inputTokens, isExact, method: isExact ? encoding : `estimate:${encoding}` }
}
