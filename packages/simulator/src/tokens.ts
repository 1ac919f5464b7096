/** The simulators' own tokenizer: four UTF-8 bytes are a token, and a part of one counts as one. */
export const bytesPerToken = 4

export function countTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / bytesPerToken)
}

/** The longest start of `text` that is at most `tokens` tokens long and splits no character. */
export function cutToTokens(text: string, tokens: number): string {
  const bytes = Buffer.from(text)
  let end = Math.min(bytes.length, Math.max(0, tokens) * bytesPerToken)
  // A UTF-8 continuation byte (10xxxxxx) at the cut means that the cut is inside a character.
  while (end > 0 && end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return bytes.subarray(0, end).toString()
}

/** `sentence` over and over, exactly `tokens` tokens long. ASCII only, so that every cut is exact. */
export function repeatToTokens(sentence: string, tokens: number): string {
  const bytes = tokens * bytesPerToken
  return sentence.repeat(Math.ceil(bytes / sentence.length)).slice(0, bytes)
}

export interface Piece {
  readonly text: string
  /** The tokens that this piece completes. Summed over all pieces this is `countTokens` of the whole text. */
  readonly tokens: number
}

/** Splits a text into pieces of 4 to 12 characters, as `size` chooses, and splits no surrogate pair. */
export function* splitIntoPieces(text: string, size: (bound: number) => number): Generator<Piece> {
  let start = 0
  let bytes = 0
  while (start < text.length) {
    let end = Math.min(text.length, start + 4 + size(9))
    const last = text.charCodeAt(end - 1)
    if (last >= 0xd800 && last <= 0xdbff && end < text.length) end += 1
    const piece = text.slice(start, end)
    const before = Math.ceil(bytes / bytesPerToken)
    bytes += Buffer.byteLength(piece)
    yield { text: piece, tokens: Math.ceil(bytes / bytesPerToken) - before }
    start = end
  }
}
