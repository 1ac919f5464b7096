/** One message of AWS's event stream as a test looks at it. */
export interface AwsEvent {
  /** `messageStop`; of what comes in place of an event, the exception's name. */
  readonly type: string
  readonly body: Record<string, unknown>
}

const PRELUDE_BYTES = 12
const CHECKSUM_BYTES = 4

/** The whole messages at the beginning of a stream, without a look at their checksums. */
export function awsEventsIn(bytes: Uint8Array): readonly AwsEvent[] {
  const buffer = Buffer.from(bytes)
  const events: AwsEvent[] = []
  for (let at = 0; at + PRELUDE_BYTES <= buffer.length; ) {
    const length = buffer.readUInt32BE(at)
    if (length < PRELUDE_BYTES + CHECKSUM_BYTES || at + length > buffer.length) break
    const headersEnd = at + PRELUDE_BYTES + buffer.readUInt32BE(at + 4)
    const headers = headersIn(buffer.subarray(at + PRELUDE_BYTES, headersEnd))
    const payload = buffer.subarray(headersEnd, at + length - CHECKSUM_BYTES).toString()
    const type = headers.get(':event-type') ?? headers.get(':exception-type') ?? ''
    events.push({ type, body: payload === '' ? {} : JSON.parse(payload) })
    at += length
  }
  return events
}

/** Bedrock's headers are texts, all of them. */
function headersIn(bytes: Buffer): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  for (let at = 0; at < bytes.length; ) {
    const nameEnd = at + 1 + bytes.readUInt8(at)
    const valueAt = nameEnd + 3
    const valueEnd = valueAt + bytes.readUInt16BE(nameEnd + 1)
    headers.set(bytes.toString('utf8', at + 1, nameEnd), bytes.toString('utf8', valueAt, valueEnd))
    at = valueEnd
  }
  return headers
}
