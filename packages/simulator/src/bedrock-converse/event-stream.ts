import { crc32 } from 'node:zlib'

const PRELUDE_BYTES = 12
const CHECKSUM_BYTES = 4
/** The type of a header's value that is a text. */
const STRING = 7

/** One message of AWS's event stream. https://smithy.io/2.0/aws/amazon-eventstream.html */
function eventStreamMessage(headers: Readonly<Record<string, string>>, payload: string): Uint8Array {
  const head = Buffer.concat(Object.entries(headers).map(([name, value]) => header(name, value)))
  const body = Buffer.from(payload)
  const message = Buffer.concat([
    prelude(PRELUDE_BYTES + head.length + body.length + CHECKSUM_BYTES, head.length),
    head,
    body,
  ])
  return Buffer.concat([message, checksum(message)])
}

/** The first bytes of a message that is as long as said, and has no headers. */
export function prelude(messageBytes: number, headerBytes: number): Buffer {
  const lengths = Buffer.alloc(PRELUDE_BYTES - CHECKSUM_BYTES)
  lengths.writeUInt32BE(messageBytes, 0)
  lengths.writeUInt32BE(headerBytes, 4)
  return Buffer.concat([lengths, checksum(lengths)])
}

function header(name: string, value: string): Buffer {
  const text = Buffer.from(value)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(text.length)
  return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), Buffer.from([STRING]), length, text])
}

function checksum(bytes: Buffer): Buffer {
  const sum = Buffer.alloc(CHECKSUM_BYTES)
  sum.writeUInt32BE(crc32(bytes))
  return sum
}

/** An event as Bedrock sends it. */
export function event(type: string, body: object): Uint8Array {
  const headers = { ':event-type': type, ':content-type': 'application/json', ':message-type': 'event' }
  return eventStreamMessage(headers, JSON.stringify(body))
}

/** What comes in place of an event when the service fails half way. */
export function exception(type: string, message: string): Uint8Array {
  const headers = {
    ':exception-type': type,
    ':content-type': 'application/json',
    ':message-type': 'exception',
  }
  return eventStreamMessage(headers, JSON.stringify({ message }))
}
