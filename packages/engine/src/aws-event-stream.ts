import { crc32 } from './crc32.ts'

/*
 * `application/vnd.amazon.eventstream`: messages of a prelude (its own length, that of its headers, a checksum of the
 * two), headers, a payload and a checksum of it all; numbers are big-endian.
 * https://smithy.io/2.0/aws/amazon-eventstream.html
 */

/** Called with each message's headers that are texts, and its payload, which is only lent. */
export type TakeEventStreamMessage = (headers: ReadonlyMap<string, string>, payload: Uint8Array) => void

export interface EventStreamParser {
  /** Takes the next bytes, split anywhere. After anything but `ok` no message comes any more. */
  push(bytes: Uint8Array, take: TakeEventStreamMessage): 'ok' | 'oversized' | 'malformed'
}

const PRELUDE_BYTES = 12
const CHECKSUM_BYTES = 4
/** Where the checksum of the prelude lies in it. */
const PRELUDE_CHECKSUM_AT = PRELUDE_BYTES - CHECKSUM_BYTES

/** A header value's type, and the bytes of those that always have as many. */
const STRING = 7
const BYTES = 6
const FIXED_BYTES: ReadonlyMap<number, number> = new Map([
  [0, 0],
  [1, 0],
  [2, 1],
  [3, 2],
  [4, 4],
  [5, 8],
  [8, 8],
  [9, 16],
])

/** Reads messages of at most `messageBytesMax`, incrementally. A length is believed when its checksum is right. */
export function eventStreamParser(messageBytesMax: number): EventStreamParser {
  let state: 'ok' | 'oversized' | 'malformed' = 'ok'
  /** The prelude first, then the whole message with the prelude in it. */
  let buffer: Uint8Array = new Uint8Array(PRELUDE_BYTES)
  let filled = 0

  function takePrelude(): void {
    const prelude = viewOf(buffer)
    const messageBytes = prelude.getUint32(0)
    const isTrue = crc32(buffer, 0, PRELUDE_CHECKSUM_AT) === prelude.getUint32(PRELUDE_CHECKSUM_AT)
    if (!isTrue || messageBytes < PRELUDE_BYTES + prelude.getUint32(4) + CHECKSUM_BYTES) state = 'malformed'
    else if (messageBytes > messageBytesMax) state = 'oversized'
    else {
      const message = new Uint8Array(messageBytes)
      message.set(buffer)
      buffer = message
    }
  }

  function takeMessage(take: TakeEventStreamMessage): void {
    const message = buffer
    const view = viewOf(message)
    const payloadEnd = message.length - CHECKSUM_BYTES
    buffer = new Uint8Array(PRELUDE_BYTES)
    filled = 0
    const headersEnd = PRELUDE_BYTES + view.getUint32(4)
    const isWhole = crc32(message, 0, payloadEnd) === view.getUint32(payloadEnd)
    const headers = isWhole ? readHeaders(message, view, headersEnd) : undefined
    if (headers) take(headers, message.subarray(headersEnd, payloadEnd))
    else state = 'malformed'
  }

  return {
    push(bytes, take) {
      let offset = 0
      while (state === 'ok' && offset < bytes.length) {
        const taken = bytes.subarray(offset, offset + buffer.length - filled)
        buffer.set(taken, filled)
        filled += taken.length
        offset += taken.length
        if (filled < buffer.length) break
        // The shortest message is longer than a prelude.
        if (filled === PRELUDE_BYTES) takePrelude()
        else takeMessage(take)
      }
      return state
    },
  }
}

/** The headers that are texts, or `undefined` where they do not end where they should. */
function readHeaders(
  message: Uint8Array,
  view: DataView,
  end: number,
): ReadonlyMap<string, string> | undefined {
  const headers = new Map<string, string>()
  let at = PRELUDE_BYTES
  while (at < end) {
    const nameEnd = at + 1 + view.getUint8(at)
    // A type and the longest fixed part of a value may follow: all of it must lie inside the headers.
    if (nameEnd + 1 > end) return undefined
    const type = view.getUint8(nameEnd)
    const isCounted = type === STRING || type === BYTES
    if (isCounted && nameEnd + 3 > end) return undefined
    const valueAt = nameEnd + (isCounted ? 3 : 1)
    const valueBytes = isCounted ? view.getUint16(nameEnd + 1) : FIXED_BYTES.get(type)
    if (valueBytes === undefined || valueAt + valueBytes > end) return undefined
    if (type === STRING)
      headers.set(textAt(message, at + 1, nameEnd), textAt(message, valueAt, valueAt + valueBytes))
    at = valueAt + valueBytes
  }
  return headers
}

const decoder = new TextDecoder()
/** Up to this length a loop is faster than a decoder. */
const SHORT_TEXT_BYTES = 64

function textAt(message: Uint8Array, start: number, end: number): string {
  if (end - start > SHORT_TEXT_BYTES) return decoder.decode(message.subarray(start, end))
  let text = ''
  for (let at = start; at < end; at++) {
    const byte = message[at] ?? 0
    if (byte >= 0x80) return decoder.decode(message.subarray(start, end))
    text += String.fromCharCode(byte)
  }
  return text
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
