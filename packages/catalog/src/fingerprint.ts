const OFFSET_HIGH = 0xcbf29ce4
const OFFSET_LOW = 0x84222325
const PRIME_LOW = 0x1b3
const WORD = 0x1_0000_0000

/**
 * FNV-1a in 64 bits over a text's UTF-8 bytes, as 16 hexadecimal digits: tells two states of the data apart. It is no
 * protection against someone who wants two texts to have the same one.
 * The prime is 2^40 + 0x1b3, so the product is taken in halves that stay exact in a double.
 * Source: https://datatracker.ietf.org/doc/html/draft-eastlake-fnv
 */
export function fingerprint(text: string): string {
  let high = OFFSET_HIGH
  let low = OFFSET_LOW
  for (const byte of new TextEncoder().encode(text)) {
    low = (low ^ byte) >>> 0
    const product = low * PRIME_LOW
    high = (high * PRIME_LOW + low * 0x100 + Math.floor(product / WORD)) % WORD
    low = product % WORD
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
}
