import { randomBytes } from 'node:crypto'

/** A canary, or a part of one, that was found. */
interface Found {
  readonly name: string
  /** How it was written where it was found. */
  readonly form: string
}

interface Pattern extends Found {
  readonly bytes: Buffer
}

/** A part this long, in bytes, is as good as the whole: what is shorter occurs by chance. */
const PART_BYTES = 12
/** A part has at least so many base64 characters that depend on nothing but itself. */
const PART_BASE64_CHARACTERS = 15
const BASE64_ALIGNMENTS = [0, 1, 2] as const
const BLOOM_BITS = 24
const GOLDEN_RATIO = 0x9e3779b1

/** A text that occurs nowhere else. */
export function newCanary(): string {
  return `CNRY-${randomBytes(12).toString('hex')}`
}

/** Every way of writing a text that the search knows, by name. The texts are ASCII. */
export const CANARY_FORMS: Readonly<Record<string, (text: string) => Buffer>> = {
  utf8: (text) => Buffer.from(text),
  utf16le: (text) => Buffer.from(text, 'utf16le'),
  hex: (text) => Buffer.from(Buffer.from(text).toString('hex')),
  'hex in capitals': (text) => Buffer.from(Buffer.from(text).toString('hex').toUpperCase()),
  'url-encoded': (text) => Buffer.from(Buffer.from(text).toString('hex').replaceAll(/../g, '%$&')),
  'url-encoded in capitals': (text) =>
    Buffer.from(Buffer.from(text).toString('hex').toUpperCase().replaceAll(/../g, '%$&')),
  ...Object.fromEntries(
    BASE64_ALIGNMENTS.map((before) => [
      `base64 after ${before}`,
      (text: string) => alignedBase64(text, before),
    ]),
  ),
}

/** The base64 of a text that stands `before` bytes after a multiple of three, but for what its neighbours decide. */
function alignedBase64(text: string, before: number): Buffer {
  const base64 = Buffer.concat([Buffer.alloc(before), Buffer.from(text)]).toString('base64')
  const first = Math.ceil((before * 8) / 6)
  const end = Math.floor(((before + text.length) * 8) / 6)
  return Buffer.from(base64.slice(first, end))
}

/** Looks for many texts at once, in all their forms and for every part of them. */
export class CanarySearch {
  /** A bit for the hash of each four bytes that some pattern begins with: nearly every place is passed by it. */
  readonly #bloom = new Uint8Array(2 ** (BLOOM_BITS - 3))
  readonly #patterns = new Map<number, Pattern[]>()

  /** The texts by their names. */
  constructor(texts: ReadonlyMap<string, string>) {
    for (const [name, text] of texts) {
      for (const [form, write] of Object.entries(CANARY_FORMS)) {
        const written = write(text)
        const step = form.startsWith('base64') ? 1 : written.length / text.length
        const length = form.startsWith('base64') ? PART_BASE64_CHARACTERS : PART_BYTES * step
        for (let start = 0; start + length <= written.length; start += step) {
          this.#add({ name, form, bytes: written.subarray(start, start + length) })
        }
      }
    }
  }

  /** What is in the bytes, each name in each form once. */
  in(bytes: Buffer | string): Found[] {
    const text = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    const found = new Map<string, Found>()
    let last = 0
    for (let place = 0; place < text.length; place++) {
      last = (last << 8) | (text[place] ?? 0)
      const hash = bloomHash(last)
      if (((this.#bloom[hash >>> 3] ?? 0) & (1 << (hash & 7))) === 0 || place < 3) continue
      for (const { name, form, bytes: part } of this.#patterns.get(last) ?? []) {
        const start = place - 3
        if (text.subarray(start, start + part.length).equals(part))
          found.set(`${name} ${form}`, { name, form })
      }
    }
    return [...found.values()]
  }

  /** The names of what is in the bytes, in order. */
  namesIn(bytes: Buffer | string): string[] {
    return [...new Set(this.in(bytes).map(({ name }) => name))].sort()
  }

  #add(pattern: Pattern): void {
    const first = pattern.bytes.readInt32BE(0)
    const hash = bloomHash(first)
    this.#bloom[hash >>> 3] = (this.#bloom[hash >>> 3] ?? 0) | (1 << (hash & 7))
    const others = this.#patterns.get(first)
    if (others) others.push(pattern)
    else this.#patterns.set(first, [pattern])
  }
}

function bloomHash(bytes: number): number {
  return Math.imul(bytes, GOLDEN_RATIO) >>> (32 - BLOOM_BITS)
}
