/** The reversed polynomial of ISO 3309, as gzip and PNG use it. */
const POLYNOMIAL = 0xedb88320

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++) {
    remainder = remainder & 1 ? (remainder >>> 1) ^ POLYNOMIAL : remainder >>> 1
  }
  return remainder
})

/** CRC-32 of the bytes from `start` to before `end`, as an unsigned number. */
export function crc32(bytes: Uint8Array, start: number, end: number): number {
  let checksum = 0xffffffff
  for (let at = start; at < end; at++) {
    checksum = (checksum >>> 8) ^ (TABLE[(checksum ^ (bytes[at] ?? 0)) & 0xff] ?? 0)
  }
  return (checksum ^ 0xffffffff) >>> 0
}
