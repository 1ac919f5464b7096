import { parentPort } from 'node:worker_threads'
import { countText } from './count-text.ts'
import type { EncodingName } from './encodings.ts'

/**
 * The thread that counts, so that no call waits for it: its vocabularies take some hundred megabytes and a second or two
 * of work for the largest text. It keeps nothing of what it counts.
 */

/** What it is asked. */
export interface CountQuestion {
  readonly id: number
  readonly encoding: EncodingName
  readonly texts: readonly string[]
  readonly budgetMs: number
}

/** What it answers: the tokens of all texts together. */
export interface CountAnswer {
  readonly id: number
  readonly tokens: number
  readonly isExact: boolean
}

interface Tokenizer {
  countTokens(text: string, options: { readonly disallowedSpecial: Set<string> }): number
  clearMergeCache(): void
}

const TOKENIZERS: Readonly<Record<EncodingName, () => Promise<Tokenizer>>> = {
  o200k_base: () => import('gpt-tokenizer/encoding/o200k_base'),
  o200k_harmony: () => import('gpt-tokenizer/encoding/o200k_harmony'),
  cl100k_base: () => import('gpt-tokenizer/encoding/cl100k_base'),
}
/** Words that steer a model are words like all others in a text. */
const PLAIN = { disallowedSpecial: new Set<string>() }

parentPort?.on('message', async ({ id, encoding, texts, budgetMs }: CountQuestion) => {
  const tokenizer = await TOKENIZERS[encoding]()
  const endsAtMs = performance.now() + budgetMs
  const bounds = {
    count: (text: string) => tokenizer.countTokens(text, PLAIN),
    hasTime: () => performance.now() < endsAtMs,
  }
  const counts = texts.map((text) => countText(text, bounds))
  tokenizer.clearMergeCache()
  const answer: CountAnswer = {
    id,
    tokens: counts.reduce((sum, { tokens }) => sum + tokens, 0),
    isExact: counts.every(({ isExact }) => isExact),
  }
  parentPort?.postMessage(answer)
})
