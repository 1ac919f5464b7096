/**
 * Ids are a prefix and a ULID in lower case: 48 bits of milliseconds, then 80 random bits, in Crockford's base 32.
 * They sort by time as plain bytes, which the partitions of the hot tables rely on.
 */
export type IdPrefix =
  | 'acct'
  | 'proj'
  | 'key'
  | 'req'
  | 'rcpt'
  | 'pay'
  | 'led'
  | 'evt'
  | 'aud'
  | 'rtr'
  | 'opk'
export type Id<Prefix extends IdPrefix> = `${Prefix}_${string}`

export type AccountId = Id<'acct'>
export type ProjectId = Id<'proj'>
export type KeyId = Id<'key'>
/** A call, an event and a completion: one id for all three. */
export type CallId = Id<'req'>
export type ReceiptId = Id<'rcpt'>
export type LedgerEntryId = Id<'led'>

/** Where time and randomness come from, so that tests can seed them. */
export interface Seams {
  /** Milliseconds since the epoch: dates in ids, events and receipts. Never used for expiry of holds. */
  now(): number
  /** Milliseconds from any fixed point, never going back: durations and time-outs. */
  monotonic(): number
  randomBytes(size: number): Uint8Array
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const TIME_CHARACTERS = 10
const RANDOM_BYTES = 10
const ULID = /^[0-9a-hjkmnp-tv-z]{26}$/

/** Makes an id. */
export function newId<Prefix extends IdPrefix>(prefix: Prefix, seams: Seams): Id<Prefix> {
  return `${prefix}_${encodeTime(seams.now())}${encodeRandom(seams.randomBytes(RANDOM_BYTES))}`
}

/** The id of another resource of the same call: `req_X` and `rcpt_X` and `led_X` belong together. */
export function siblingId<Prefix extends IdPrefix>(prefix: Prefix, id: string): Id<Prefix> {
  return `${prefix}_${id.slice(id.indexOf('_') + 1)}`
}

/** Whether a text is an id of this kind. Says nothing of whether it exists. */
export function isId<Prefix extends IdPrefix>(prefix: Prefix, text: string): text is Id<Prefix> {
  return text.startsWith(`${prefix}_`) && ULID.test(text.slice(prefix.length + 1))
}

/** What the books put behind the id of a row that they add to a call's first one: rows are never changed. */
export const ADDED_ROW = /_(?:late|refund)$/

/** Whether a text is an id that a row of the records can have: that of a call, or of a row that was added to it. */
export function isRecordId<Prefix extends IdPrefix>(prefix: Prefix, text: string): text is Id<Prefix> {
  return isId(prefix, text.replace(ADDED_ROW, ''))
}

/** The smallest id of a prefix at a time: a partition's bound, or the start of a page. */
export function firstIdAt<Prefix extends IdPrefix>(prefix: Prefix, timeMs: number): Id<Prefix> {
  return `${prefix}_${encodeTime(timeMs)}${'0'.repeat(16)}`
}

/** When an id was made, in milliseconds since the epoch. */
export function idTimeMs(id: string): number {
  const from = id.indexOf('_') + 1
  return [...id.slice(from, from + TIME_CHARACTERS)].reduce(
    (timeMs, character) => timeMs * 32 + ALPHABET.indexOf(character),
    0,
  )
}

function encodeTime(timeMs: number): string {
  let rest = timeMs
  let text = ''
  for (let place = 0; place < TIME_CHARACTERS; place++) {
    text = (ALPHABET[rest % 32] ?? '0') + text
    rest = Math.floor(rest / 32)
  }
  return text
}

function encodeRandom(bytes: Uint8Array): string {
  let bits = 0
  let bitCount = 0
  let text = ''
  for (const byte of bytes) {
    bits = (bits << 8) | byte
    bitCount += 8
    while (bitCount >= 5) {
      bitCount -= 5
      text += ALPHABET[(bits >> bitCount) & 31] ?? '0'
      bits &= (1 << bitCount) - 1
    }
  }
  return text
}
