import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { join, resolve } from 'node:path'

/** Recorded exchanges lie beside the project, never in it; where they are absent, tests skip. */
const transcriptsFolder = resolve(import.meta.dirname, '../../../../../shared/transcripts')

/** The sentence for `t.skip` where the recordings are absent. */
export const noTranscripts = 'SKIPPED: the recorded exchanges (../shared/transcripts) are not on this machine'

/** One recorded request to a provider and what the provider answered. */
export interface RecordedExchange {
  /** As in `openai/test_valid_response.0`. */
  readonly name: string
  readonly path: string
  readonly requestBody: Body
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly responseBytes: Buffer
}

type Body = { readonly [key: string]: unknown }

/** What the replay server was sent. Kept in memory for assertions. */
export interface ReceivedRequest {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly json: Body
  /** The exchange that answered it; absent where none fitted. */
  readonly answeredBy?: string
}

export interface ReplayServer {
  /** What stands in for the provider's own base URL, as in `MESH_OPENAI_BASE_URL`. */
  baseUrl(provider: 'openai' | 'anthropic'): string
  readonly received: readonly ReceivedRequest[]
  /** The next request to this exchange's path gets its answer, whatever the request says; the last one named counts. */
  answerNextWith(name: string): void
  close(): Promise<void>
}

export interface ReplayOptions {
  readonly exchanges: readonly RecordedExchange[]
  /** The answer's bytes are written in pieces of this size, which may split a character. All at once when left out. */
  readonly chunkBytes?: number
}

/** The recorded exchanges of one provider, sorted by name; `undefined` where there are no recordings. */
export function recordedExchanges(provider: string): readonly RecordedExchange[] | undefined {
  const folder = join(transcriptsFolder, provider)
  if (!existsSync(folder)) return undefined
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'))
  return files
    .sort()
    .map((file) => readExchange(provider, join(folder, file), file.slice(0, -'.json'.length)))
}

function readExchange(provider: string, path: string, name: string): RecordedExchange {
  const recorded = asBody(JSON.parse(readFileSync(path, 'utf8')))
  const request = asBody(recorded.request)
  const response = asBody(recorded.response)
  return {
    name: `${provider}/${name}`,
    path: pathname(String(request.path)),
    requestBody: asBody(request.body),
    status: Number(response.status),
    headers: Object.fromEntries(
      Object.entries(asBody(response.headers)).map(([key, value]) => [key, String(value)]),
    ),
    responseBytes: bytesOf(response),
  }
}

function bytesOf(response: Body): Buffer {
  switch (response.encoding) {
    case 'json':
      return Buffer.from(JSON.stringify(response.body))
    case 'base64':
      return Buffer.from(String(response.body), 'base64')
    default:
      return Buffer.from(String(response.body))
  }
}

/**
 * Serves recorded exchanges as the hosts that they were recorded from.
 *
 * A request is answered by the exchange that has the same path, the same `stream`, and the same conversation: the
 * digest of what every message says, by role and in order, with the calls and results of tools. The model does not
 * count, for the catalogue's names differ from the recorded ones, but of several exchanges that fit, one with the same
 * model goes first. Where nothing fits, the answer is 404 and `answeredBy` stays empty.
 */
export async function startReplayServer(options: ReplayOptions): Promise<ReplayServer> {
  const received: ReceivedRequest[] = []
  const next = new Map<string, RecordedExchange>()
  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy())
  })

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = pathname(request.url ?? '')
    const json = await readBody(request)
    const exchange = next.get(path) ?? findExchange(options.exchanges, path, json)
    next.delete(path)
    received.push({
      path,
      headers: request.headers,
      json,
      ...(exchange === undefined ? {} : { answeredBy: exchange.name }),
    })
    if (exchange === undefined) {
      response.writeHead(404, { 'content-type': 'application/json' })
      response.end('{"error":{"message":"no recorded exchange fits this request","type":"replay_server"}}')
      return
    }
    response.writeHead(exchange.status, { ...exchange.headers })
    await writeInChunks(response, exchange.responseBytes, options.chunkBytes ?? exchange.responseBytes.length)
    response.end()
  }

  await new Promise<void>((started, failed) => {
    server.once('error', failed)
    server.listen(0, '127.0.0.1', started)
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    baseUrl: (provider) => `http://127.0.0.1:${port}${provider === 'openai' ? '/v1' : ''}`,
    received,
    answerNextWith: (name) => {
      const exchange = options.exchanges.find((candidate) => candidate.name === name)
      if (exchange === undefined) throw new Error(`no recorded exchange is called ${name}`)
      next.set(exchange.path, exchange)
    },
    close: () =>
      new Promise((closed) => {
        server.close(() => closed())
        server.closeAllConnections()
      }),
  }
}

function findExchange(
  exchanges: readonly RecordedExchange[],
  path: string,
  body: Body,
): RecordedExchange | undefined {
  const digest = conversationDigest(body)
  const fitting = exchanges.filter(
    (exchange) =>
      exchange.path === path &&
      (exchange.requestBody.stream === true) === (body.stream === true) &&
      conversationDigest(exchange.requestBody) === digest,
  )
  return fitting.find((exchange) => exchange.requestBody.model === body.model) ?? fitting[0]
}

/** The same for a conversation in OpenAI's shape and in Anthropic's. */
export function conversationDigest(body: Body): string {
  const system = saying('system', body.system)
  const turns = asList(body.messages).flatMap((message) => {
    const { role, content, tool_calls: calls } = asBody(message)
    return [
      ...saying(String(role), content),
      ...asList(calls).map((call) => calling(asBody(asBody(call).function))),
    ]
  })
  return createHash('sha256')
    .update([...system, ...turns].join('\n'))
    .digest('hex')
}

/** What a message says, a line for each thing. Text of neighbouring parts is one text. */
function saying(role: string, content: unknown): readonly string[] {
  const speaker = role === 'developer' ? 'system' : role
  if (typeof content === 'string') return content === '' ? [] : [`${speaker}: ${content}`]
  const parts = asList(content).map(asBody)
  const text = parts.map((part) => (part.type === 'text' ? String(part.text) : '')).join('')
  const others = parts.filter((part) => part.type !== 'text').flatMap(doing)
  return text === '' ? others : [`${speaker}: ${text}`, ...others]
}

function doing(part: Body): readonly string[] {
  if (part.type === 'tool_use') return [calling({ name: part.name, arguments: part.input })]
  if (part.type === 'tool_result') return saying('tool', part.content)
  // Thinking and cache marks come and go between turns; pictures and files count by being there.
  return part.type === 'thinking' || part.type === 'redacted_thinking' ? [] : ['[attachment]']
}

function calling(call: Body): string {
  const given = typeof call.arguments === 'string' ? parsed(call.arguments) : call.arguments
  return `call: ${String(call.name)} ${JSON.stringify(given)}`
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function pathname(url: string): string {
  return url.split('?', 1)[0] ?? ''
}

function isBody(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function asBody(value: unknown): Body {
  return isBody(value) ? value : {}
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

async function readBody(request: IncomingMessage): Promise<Body> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return asBody(parsed(Buffer.concat(chunks).toString()))
}

async function writeInChunks(response: ServerResponse, bytes: Buffer, chunkBytes: number): Promise<void> {
  for (let at = 0; at < bytes.length && !response.destroyed; at += chunkBytes) {
    response.write(bytes.subarray(at, at + chunkBytes))
    // A turn of the event loop between two writes lets them leave as two packets.
    await new Promise((resume) => setImmediate(resume))
  }
}
