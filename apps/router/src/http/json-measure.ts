/** How deep JSON may be nested, and how many values it may have. The values of a body are its members at every level. */
export interface JsonBounds {
  readonly nestingMax: number
  readonly valuesMax: number
}

/** Less than this cannot keep the parser busy, whatever it is. */
const HARMLESS_BYTES = 65_536

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/**
 * Finds what is too much of JSON before it is parsed. The parser makes an object of every four bytes of `[[[[` and
 * stops all other work of the process meanwhile: ten megabytes of brackets take it over a second. This looks at each
 * byte once, and skips texts, of which large bodies are made, as fast as memory is read.
 *
 * It never refuses what is within the bounds; of what is not JSON it may say anything.
 */
export function jsonExcess(bytes: Buffer, bounds: JsonBounds): 'nesting' | 'values' | undefined {
  if (bytes.length <= HARMLESS_BYTES) return undefined
  let depth = 0
  let commas = 0
  let opened = 0
  for (let at = 0; at < bytes.length; at++) {
    switch (bytes[at]) {
      case QUOTE:
        at = endOfText(bytes, at)
        break
      case COMMA:
        if (++commas > bounds.valuesMax) return 'values'
        break
      case OPEN_LIST:
      case OPEN_OBJECT:
        if (++depth > bounds.nestingMax) return 'nesting'
        // The outermost one is not a member of any other.
        if (++opened > bounds.valuesMax + 1) return 'values'
        break
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        depth--
    }
  }
  return undefined
}

/** Where the quote stands that ends a text; the end of the bytes where none does. */
function endOfText(bytes: Buffer, start: number): number {
  let end = bytes.indexOf(QUOTE, start + 1)
  while (end !== -1 && isEscaped(bytes, end, start)) end = bytes.indexOf(QUOTE, end + 1)
  return end === -1 ? bytes.length : end
}

/** Whether an odd number of backslashes stands before a quote. Each backslash is counted for one quote at most. */
function isEscaped(bytes: Buffer, quote: number, start: number): boolean {
  let before = quote - 1
  while (before > start && bytes[before] === BACKSLASH) before--
  return (quote - 1 - before) % 2 === 1
}
