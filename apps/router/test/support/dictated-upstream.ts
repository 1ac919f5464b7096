import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What the upstream says next: a text, why it ends, and what it says it came to. Or a status that is no answer. */
export interface Dictated {
  readonly text?: string
  readonly finish?: 'stop' | 'length'
  readonly usage?: readonly [input: number, output: number]
  readonly status?: number
}

interface AskedBody {
  readonly model: string
  readonly stream?: boolean
  readonly max_tokens?: number
  readonly messages: readonly { readonly role: string; readonly content: string }[]
}

/** A server of open models, with OpenAI's chat completions, that answers what it is told to, one after the other. */
export interface DictatedUpstream {
  readonly baseUrl: string
  readonly asked: readonly AskedBody[]
  dictate(...answers: readonly Dictated[]): void
  close(): Promise<void>
}

const PIECE_CHARACTERS = 12

/** Starts one on a loopback port. */
export async function startDictatedUpstream(): Promise<DictatedUpstream> {
  const asked: AskedBody[] = []
  const waiting: Dictated[] = []
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const body: AskedBody = JSON.parse(text)
    asked.push(body)
    const answer = waiting.shift() ?? { status: 500 }
    if (answer.status !== undefined) {
      response.writeHead(answer.status, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ error: { message: 'no', type: 'no' } }))
    } else if (body.stream) stream(response, body, answer)
    else whole(response, body, answer)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    asked,
    baseUrl: `http://127.0.0.1:${port}/v1`,
    dictate: (...answers) => void waiting.splice(0, waiting.length, ...answers),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

const usageOf = ([input, output]: readonly [number, number] = [100, 50]) => ({
  ...{ prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
})

function whole(response: ServerResponse, { model }: AskedBody, { text, finish = 'stop', usage }: Dictated) {
  response.writeHead(200, { 'content-type': 'application/json' })
  const choice = { index: 0, message: { role: 'assistant', content: text }, finish_reason: finish }
  const head = { id: 'chatcmpl-1', object: 'chat.completion', created: 1, model }
  response.end(JSON.stringify({ ...head, choices: [choice], usage: usageOf(usage) }))
}

function stream(
  response: ServerResponse,
  { model }: AskedBody,
  { text = '', finish = 'stop', usage }: Dictated,
) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model }
  const say = (event: object) => response.write(`data: ${JSON.stringify({ ...head, ...event })}\n\n`)
  for (let from = 0; from < text.length; from += PIECE_CHARACTERS) {
    const content = text.slice(from, from + PIECE_CHARACTERS)
    say({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })
  }
  say({ choices: [{ index: 0, delta: {}, finish_reason: finish }] })
  say({ choices: [], usage: usageOf(usage) })
  response.end('data: [DONE]\n\n')
}
