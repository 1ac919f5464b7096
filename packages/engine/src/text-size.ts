/* How large a text is in UTF-8. A lone surrogate counts as the three bytes of the U+FFFD that it becomes. */

/** The longest token of the vocabularies in use (a run of spaces), in bytes: no text has fewer tokens than this says. */
export const BYTES_PER_TOKEN_MAX = 128

const FIRST_SURROGATE = 0xd800
const FIRST_LOW_SURROGATE = 0xdc00
const LAST_SURROGATE = 0xdfff
/** Hangul syllables come apart when a text is decomposed, and always come together again. */
const FIRST_HANGUL_SYLLABLE = 0xac00
const LAST_HANGUL_SYLLABLE = 0xd7a3
/** High surrogates up to this one hold every character beyond U+FFFF that decomposes; each grows to 3 × at most. */
const LAST_DECOMPOSING_HIGH_SURROGATE = 0xd834
const PAIR_GROWTH_BYTES = 8

/** From this length on it costs less to make the bytes than to count them. */
const LONG_TEXT_UNITS = 512
const encoder = new TextEncoder()

export function utf8Length(text: string): number {
  if (text.length >= LONG_TEXT_UNITS) return encoder.encode(text).length
  let bytes = text.length
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit < 0x80) continue
    if (unit < 0x800) bytes += 1
    else {
      bytes += 2
      // A pair is two units and four bytes.
      if (isPairAt(text, at, unit)) at++
    }
  }
  return bytes
}

export interface TextSize {
  readonly bytes: number
  /** The most bytes that it can have for a tokenizer that composes text first. */
  readonly composedBytesMax: number
}

export function sizeOf(text: string): TextSize {
  const bytes = utf8Length(text)
  return { bytes, composedBytesMax: bytes === text.length ? bytes : decomposedLength(text) }
}

/**
 * A bound for the bytes of a text once it is composed (Unicode NFC), as some tokenizers do first: for a few characters
 * the composed form is the longer one. Composing joins what decomposing took apart and never lengthens it, so the
 * decomposed size of each character is a bound. The text itself is never composed: the time that takes grows with the
 * square of a run of combining marks.
 */
function decomposedLength(text: string): number {
  let bytes = text.length
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit < 0x80) continue
    if (unit < FIRST_SURROGATE || unit > LAST_SURROGATE) {
      bytes += (unit < 0x800 ? 1 : 2) + growthOf(unit)
      continue
    }
    bytes += 2
    if (!isPairAt(text, at, unit)) continue
    if (unit <= LAST_DECOMPOSING_HIGH_SURROGATE) bytes += PAIR_GROWTH_BYTES
    at++
  }
  return bytes
}

function isPairAt(text: string, at: number, unit: number): boolean {
  if (unit < FIRST_SURROGATE || unit >= FIRST_LOW_SURROGATE) return false
  const next = text.charCodeAt(at + 1)
  return next >= FIRST_LOW_SURROGATE && next <= LAST_SURROGATE
}

const UNKNOWN = 255
/** By how many bytes a character grows when it is decomposed, as far as it was asked for before. */
const growthBytes = new Uint8Array(0x1_0000).fill(UNKNOWN)

function growthOf(unit: number): number {
  const known = growthBytes[unit] ?? UNKNOWN
  if (known !== UNKNOWN) return known
  const isHangul = unit >= FIRST_HANGUL_SYLLABLE && unit <= LAST_HANGUL_SYLLABLE
  const character = String.fromCharCode(unit)
  const growth = isHangul ? 0 : Math.max(0, utf8Length(character.normalize('NFD')) - utf8Length(character))
  growthBytes[unit] = growth
  return growth
}
