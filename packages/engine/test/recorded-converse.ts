import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Recorded exchanges with Bedrock. They lie beside the project, not in it. */
const FOLDER = join(import.meta.dirname, '../../../../shared/transcripts/bedrock')

// biome-ignore lint/suspicious/noExplicitAny: what a record holds is what a test asserts
type Recorded = any

/** One exchange with Converse. */
export interface RecordedConverse {
  readonly file: string
  /** As it is in the path, with its percent signs. */
  readonly pathModel: string
  readonly path: string
  readonly request: Recorded
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The bytes on the wire; JSON bodies were recorded parsed, so theirs are made again. */
  readonly bytes: Uint8Array
  readonly isStream: boolean
}

/** All exchanges with `/converse` and `/converse-stream`, or `undefined` where the recordings are not there. */
export function recordedConverse(): readonly RecordedConverse[] | undefined {
  if (!existsSync(FOLDER)) return undefined
  return readdirSync(FOLDER)
    .sort()
    .flatMap((file) => {
      const { request, response } = JSON.parse(readFileSync(join(FOLDER, file), 'utf8'))
      const [, pathModel, operation] =
        /^\/model\/([^/]+)\/(converse|converse-stream)$/.exec(request.path) ?? []
      if (pathModel === undefined) return []
      const isStream = response.encoding === 'base64'
      const text = typeof response.body === 'string' ? response.body : JSON.stringify(response.body)
      return [
        {
          file,
          pathModel,
          path: request.path,
          request: request.body,
          status: response.status,
          headers: response.headers,
          bytes: isStream ? Uint8Array.from(Buffer.from(text, 'base64')) : new TextEncoder().encode(text),
          isStream: operation === 'converse-stream',
        },
      ]
    })
}

const NAME = ':event-type'

/** The messages of an event stream, taken apart with none of the code under test. */
export function recordedMessages(
  bytes: Uint8Array,
): readonly { readonly type: string; readonly body: Recorded }[] {
  const stream = Buffer.from(bytes)
  const messages: { type: string; body: Recorded }[] = []
  for (let at = 0; at < stream.length; at += stream.readUInt32BE(at)) {
    const headersEnd = at + 12 + stream.readUInt32BE(at + 4)
    // One header follows the other: a length, a name, a type that is always text, a length, a text.
    const headers = stream.toString('latin1', at + 12, headersEnd)
    const typeAt = headers.indexOf(NAME) + NAME.length
    const typeLength = headers.charCodeAt(typeAt + 2)
    messages.push({
      type: headers.slice(typeAt + 3, typeAt + 3 + typeLength),
      body: JSON.parse(stream.toString('utf8', headersEnd, at + stream.readUInt32BE(at) - 4)),
    })
  }
  return messages
}
