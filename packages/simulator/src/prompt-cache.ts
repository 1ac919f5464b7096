import { seedOf } from './seed.ts'
import { bytesPerToken, countTokens } from './tokens.ts'

/** Prefixes that are remembered at once, over all providers; the least recently used one goes first. */
const prefixesMax = 50_000

/** A piece of a prompt, in the order in which the vendor's cache sees it. */
export interface PromptPart {
  /** Stands for the content: the text itself, or the digest of an image or a document. */
  readonly canonical: string
  readonly tokens: number
  /** The caller's mark that the prefix ending here is to be cached. */
  readonly cacheTtl?: '5m' | '1h'
}

export function textPart(text: string, cacheTtl?: '5m' | '1h'): PromptPart {
  return { canonical: text, tokens: countTokens(text), ...(cacheTtl === undefined ? {} : { cacheTtl }) }
}

export function totalTokens(parts: readonly PromptPart[]): number {
  return parts.reduce((sum, part) => sum + part.tokens, 0)
}

/** What a cache did for one prompt, in tokens. What is neither read nor written is plain input. */
export interface CacheUse {
  readonly read: number
  readonly write5m: number
  readonly write1h: number
}

export class PromptCache {
  readonly #expiryMsByPrefix = new Map<string, number>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * Caching as OpenAI and its like do it: unasked, in whole blocks, for prefixes of at least `minimumTokens`. `scope`
   * keeps apart what shares no cache: provider, model, the caller's cache key.
   */
  useAutomatic(
    scope: string,
    parts: readonly PromptPart[],
    minimumTokens: number,
    blockTokens: number,
  ): CacheUse {
    const blockBytes = blockTokens * bytesPerToken
    const bytes = Buffer.from(parts.map(paddedToTokens).join(''))
    const ttlMs = 10 * 60_000
    let prefix = scope
    let read = 0
    let unbroken = true
    for (let end = blockBytes; end <= bytes.length; end += blockBytes) {
      prefix = seedOf(prefix, bytes.subarray(end - blockBytes, end).toString('latin1'))
      unbroken &&= this.#isFresh(prefix)
      if (unbroken) read = end / bytesPerToken
      this.#remember(prefix, ttlMs)
    }
    return { read: read >= minimumTokens ? read : 0, write5m: 0, write1h: 0 }
  }

  /**
   * Caching as Anthropic does it: up to the caller's marks. The longest marked prefix that is known is read, what lies
   * between it and the last mark is written, and what comes after the last mark is plain input.
   */
  useMarked(scope: string, parts: readonly PromptPart[], minimumTokens: number): CacheUse {
    const marks: { readonly prefix: string; readonly tokens: number; readonly ttl: '5m' | '1h' }[] = []
    let prefix = scope
    let tokens = 0
    let read = 0
    const lastMark = parts.findLastIndex((part) => part.cacheTtl !== undefined)
    for (const part of parts.slice(0, lastMark + 1)) {
      prefix = seedOf(prefix, part.canonical)
      tokens += part.tokens
      // A prefix that another request marked is found although this request marks only a longer one.
      if (tokens >= minimumTokens && this.#isFresh(prefix)) read = tokens
      if (part.cacheTtl !== undefined) marks.push({ prefix, tokens, ttl: part.cacheTtl })
    }
    const written = { '5m': 0, '1h': 0 }
    let done = read
    for (const mark of marks) {
      if (mark.tokens < minimumTokens) continue
      this.#remember(mark.prefix, mark.ttl === '1h' ? 60 * 60_000 : 5 * 60_000)
      written[mark.ttl] += Math.max(0, mark.tokens - done)
      done = Math.max(done, mark.tokens)
    }
    return { read, write5m: written['5m'], write1h: written['1h'] }
  }

  #isFresh(prefix: string): boolean {
    return (this.#expiryMsByPrefix.get(prefix) ?? 0) > this.#now()
  }

  #remember(prefix: string, ttlMs: number): void {
    // A Map keeps its insertion order: deleting first makes the prefix the youngest.
    this.#expiryMsByPrefix.delete(prefix)
    this.#expiryMsByPrefix.set(prefix, this.#now() + ttlMs)
    if (this.#expiryMsByPrefix.size <= prefixesMax) return
    const oldest = this.#expiryMsByPrefix.keys().next()
    if (oldest.done !== true) this.#expiryMsByPrefix.delete(oldest.value)
  }
}

/** As many bytes as the part has tokens for, so that a block of tokens is always the same number of bytes. */
function paddedToTokens(part: PromptPart): string {
  const bytes = part.tokens * bytesPerToken
  const missing = bytes - Buffer.byteLength(part.canonical)
  return missing >= 0 ? part.canonical + '\0'.repeat(missing) : part.canonical.slice(0, bytes)
}
