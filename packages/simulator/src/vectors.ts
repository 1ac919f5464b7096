import { numbersFrom, seedOf } from './seed.ts'

/** Words of a text that count: enough to tell texts apart, few enough that a long one costs no time. */
const wordsMax = 64

function wordsOf(text: string): readonly string[] {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
  return words.slice(0, wordsMax)
}

/**
 * A text as a vector of length 1: always the same for the same text, and the nearer to another's the more words the
 * two share. A text without words has a direction of its own.
 */
export function vectorOf(model: string, text: string, dimensions: number): readonly number[] {
  const words = wordsOf(text)
  const sum = new Float64Array(dimensions)
  for (const word of words.length === 0 ? [`\0${text}`] : words) {
    const next = numbersFrom(seedOf(model, word))
    for (let at = 0; at < dimensions; at += 1) sum[at] = (sum[at] ?? 0) + next(2001) / 1000 - 1
  }
  const length = Math.hypot(...sum) || 1
  return Array.from(sum, (value) => Math.fround(value / length))
}

/** A vector as the vendors pack it: 32-bit floats, the lowest byte first, in base64. */
export function packed(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [at, value] of vector.entries()) bytes.writeFloatLE(value, at * 4)
  return bytes.toString('base64')
}

/** How relevant a document is to a query, from 0 to 1: the share of the query's words that it has, nearly. */
function relevanceOf(query: string, document: string): number {
  const wanted = new Set(wordsOf(query))
  const found = new Set(wordsOf(document))
  const shared = [...wanted].filter((word) => found.has(word)).length
  // No two documents are alike in a real ranking: a trace of the text itself tells equal ones apart.
  const trace = numbersFrom(seedOf(query, document))(1000) / 100_000
  return Number((0.01 + trace + (0.97 * shared) / Math.max(1, wanted.size)).toFixed(6))
}

export interface Ranked {
  readonly index: number
  readonly relevance: number
}

/** The documents by relevance, the most relevant first, and no more than asked for. */
export function ranked(query: string, documents: readonly string[], countMax: number): readonly Ranked[] {
  return documents
    .map((document, index) => ({ index, relevance: relevanceOf(query, document) }))
    .sort((a, b) => b.relevance - a.relevance || a.index - b.index)
    .slice(0, countMax)
}
