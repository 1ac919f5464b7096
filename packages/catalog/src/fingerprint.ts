const PRIME_LOW = 0x1b3

/**
 * FNV-1a in 64 bits over a text's UTF-8 bytes, as 16 hexadecimal digits: tells two states of the data apart. It is no
 * protection against someone who wants two texts to have the same one.
 * The hash is kept in four parts of 16 bits, so that every product stays a small integer; the prime is 2^40 + 0x1b3.
 * Source: https://datatracker.ietf.org/doc/html/draft-eastlake-fnv
 */
export function fingerprint(text: string): string {
  // The offset basis, 0xcbf29ce484222325.
  let [first, second, third, fourth] = [0xcbf2, 0x9ce4, 0x8422, 0x2325]
  for (const byte of new TextEncoder().encode(text)) {
    const low = fourth ^ byte
    const products = [low * PRIME_LOW, third * PRIME_LOW, second * PRIME_LOW + (low << 8)] as const
    const carried = products[1] + (products[0] >>> 16)
    const carriedOn = products[2] + (carried >>> 16)
    first = (first * PRIME_LOW + (third << 8) + (carriedOn >>> 16)) & 0xffff
    second = carriedOn & 0xffff
    third = carried & 0xffff
    fourth = products[0] & 0xffff
  }
  return [first, second, third, fourth].map((part) => part.toString(16).padStart(4, '0')).join('')
}
