import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Seams } from '../ids.ts'

/**
 * A key's secret: `mesh_live_` or `mesh_test_`, 32 random bytes in base 62 (43 characters), and the CRC-32 of all
 * before it in base 62 (6 characters). The checksum guards nothing; it tells a mistyped key from a wrong one.
 */
const RANDOM_BYTES = 32
const RANDOM_CHARACTERS = 43
const CHECKSUM_CHARACTERS = 6
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const KEY_PREFIX = /^mesh_(live|test)_/
const WELL_FORMED = new RegExp(
  `^mesh_(?:live|test)_[0-9A-Za-z]{${RANDOM_CHARACTERS}}[0-9A-Za-z]{${CHECKSUM_CHARACTERS}}$`,
)
const TAIL_CHARACTERS = 4

export type ParsedSecret =
  | { readonly kind: 'key'; readonly livemode: boolean }
  /** Begins as a key does, but its length, characters or checksum are wrong. */
  | { readonly kind: 'mistyped' }
  /** No key of MESH: another vendor's, an operator's, or anything else. */
  | { readonly kind: 'foreign' }

/** Makes a secret from 32 random bytes. */
export function makeSecret(livemode: boolean, seams: Pick<Seams, 'randomBytes'>): string {
  const body = `mesh_${livemode ? 'live' : 'test'}_${toBase62(seams.randomBytes(RANDOM_BYTES), RANDOM_CHARACTERS)}`
  return body + checksum(body)
}

/** Tells what a presented secret is, without looking whether it exists. */
export function parseSecret(secret: string): ParsedSecret {
  const prefix = KEY_PREFIX.exec(secret)
  if (!prefix) return { kind: 'foreign' }
  const body = secret.slice(0, -CHECKSUM_CHARACTERS)
  if (!WELL_FORMED.test(secret) || checksum(body) !== secret.slice(-CHECKSUM_CHARACTERS))
    return { kind: 'mistyped' }
  return { kind: 'key', livemode: prefix[1] === 'live' }
}

/** All that is stored of a secret, but for its tail. 32 random bytes need no salt and no slow hash. */
export function hashSecret(secret: string): Buffer {
  return hash('sha256', secret, 'buffer')
}

/** The last characters of a secret, by which people tell keys apart. They are checksum, not key. */
export function secretTail(secret: string): string {
  return secret.slice(-TAIL_CHARACTERS)
}

function checksum(body: string): string {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, crc32(body))
  return toBase62(bytes, CHECKSUM_CHARACTERS)
}

/** Big-endian bytes as base 62, padded on the left to a fixed width. */
function toBase62(bytes: Uint8Array, characters: number): string {
  let rest = bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n)
  let text = ''
  for (let place = 0; place < characters; place++) {
    text = (ALPHABET[Number(rest % 62n)] ?? '') + text
    rest /= 62n
  }
  return text
}
