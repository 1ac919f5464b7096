import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A provider that speaks OpenAI's chat completions and writes as much as it is let, where a simulator stops early. */
export interface StreamingUpstream {
  /** What stands in for the provider's own base URL, as in `MESH_OPENAI_BASE_URL`. */
  readonly baseUrl: string
  /** The requests that came, in their order. */
  readonly exchanges: readonly UpstreamExchange[]
  close(): Promise<void>
}

export interface UpstreamExchange {
  readonly stream: boolean
  /** Bytes of content that were handed to the system so far. */
  sentBytes(): number
  /** Whether MESH has dropped the connection before the end. */
  isDropped(): boolean
}

export interface StreamingUpstreamOptions {
  /** How much an answer says, all in all; each delta is one letter over and over. */
  readonly contentBytes: number
  readonly deltaBytes: number
  /** What it says that went in. */
  readonly inputTokens?: number
  /** Reports the usage so far with every delta, as some servers do (`continuous_usage_stats`). */
  readonly usageAsItGoes?: boolean
  /** Thinks before it answers, and shows it, so that nobody has to ask what the thought came to. */
  readonly thinksAloud?: boolean
  /** Says so many deltas, and no more until the connection goes. */
  readonly deltasMax?: number
}

const INPUT_TOKENS = 10
const BYTES_PER_TOKEN = 4

/** Starts one on a loopback port. Every request gets the same answer. */
export async function startStreamingUpstream(options: StreamingUpstreamOptions): Promise<StreamingUpstream> {
  const exchanges: UpstreamExchange[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const { stream = false } = JSON.parse(body)
    let sentBytes = 0
    exchanges.push({
      stream,
      sentBytes: () => sentBytes,
      isDropped: () => response.destroyed && !response.writableFinished,
    })
    if (!stream) return answer(response, options)
    await streamTo(response, options, (bytes) => {
      sentBytes += bytes
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    exchanges,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function answer(response: ServerResponse, options: StreamingUpstreamOptions): void {
  const { contentBytes } = options
  const message = { role: 'assistant', content: 'x'.repeat(contentBytes) }
  const body = {
    ...HEAD,
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    usage: usage(contentBytes, options),
  }
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

async function streamTo(
  response: ServerResponse,
  options: StreamingUpstreamOptions,
  onSent: (bytes: number) => void,
): Promise<void> {
  const { contentBytes, deltaBytes, usageAsItGoes = false, thinksAloud = false, deltasMax } = options
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const delta = 'x'.repeat(deltaBytes)
  const send = (chunk: object): boolean =>
    response.write(`data: ${JSON.stringify({ ...HEAD, ...chunk })}\n\n`)
  if (thinksAloud) send({ choices: [{ index: 0, delta: { reasoning_content: 'So.' }, finish_reason: null }] })
  for (let sent = deltaBytes, deltas = 1; sent <= contentBytes; sent += deltaBytes, deltas++) {
    if (deltasMax !== undefined && deltas > deltasMax) return
    const isTaken = send({
      choices: [{ index: 0, delta: { content: delta }, finish_reason: null }],
      ...(usageAsItGoes ? { usage: usage(sent, options) } : {}),
    })
    if (!isTaken && !(await drained(response))) return
    onSent(deltaBytes)
  }
  send({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage: usage(contentBytes, options) })
  response.end('data: [DONE]\n\n')
}

const HEAD = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1_700_000_000, model: 'a-model' }

function usage(contentBytes: number, { inputTokens = INPUT_TOKENS }: StreamingUpstreamOptions) {
  const completion_tokens = contentBytes / BYTES_PER_TOKEN
  return { prompt_tokens: inputTokens, completion_tokens, total_tokens: inputTokens + completion_tokens }
}

/** Whether more can be written: false where the connection is gone. */
function drained(response: ServerResponse): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false)
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done)
      resolve(!response.destroyed)
    }
    response.on('drain', done).on('close', done)
  })
}
