import { crc32 } from 'node:zlib'

/** One message of AWS's event stream, with headers that are texts, unless said otherwise. */
export function awsMessage(
  headers: Readonly<Record<string, string | Buffer>>,
  payload: string | Uint8Array,
): Buffer {
  const head = Buffer.concat(
    Object.entries(headers).map(([name, value]) => {
      const typed = typeof value === 'string' ? textValue(value) : value
      return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), typed])
    }),
  )
  const body = Buffer.from(payload)
  const lengths = Buffer.alloc(8)
  lengths.writeUInt32BE(12 + head.length + body.length + 4, 0)
  lengths.writeUInt32BE(head.length, 4)
  const message = Buffer.concat([lengths, checksum(lengths), head, body])
  return Buffer.concat([message, checksum(message)])
}

export function awsEvent(type: string, body: object): Buffer {
  return awsMessage(
    { ':event-type': type, ':content-type': 'application/json', ':message-type': 'event' },
    JSON.stringify(body),
  )
}

export function awsException(type: string, body: object): Buffer {
  return awsMessage({ ':exception-type': type, ':message-type': 'exception' }, JSON.stringify(body))
}

/** The checksum of anything, as the format writes it. */
export function checksum(bytes: Uint8Array): Buffer {
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(bytes))
  return sum
}

function textValue(text: string): Buffer {
  const bytes = Buffer.from(text)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([Buffer.from([7]), length, bytes])
}
