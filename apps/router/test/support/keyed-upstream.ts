import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A provider that speaks OpenAI's chat completions and answers each credential as it is told to. */
export interface KeyedUpstream {
  readonly baseUrl: string
  /** The credentials that were presented, in their order, each with the model that was asked for. */
  readonly presented: readonly { readonly key: string; readonly model: string }[]
  /** From now on the credential gets this status; 200 is an answer. */
  answers(key: string, status: number, headers?: Readonly<Record<string, string>>): void
  close(): Promise<void>
}

/** Starts one on a loopback port. Credentials of which nothing was said get answers. */
export async function startKeyedUpstream(): Promise<KeyedUpstream> {
  const presented: { key: string; model: string }[] = []
  const told = new Map<string, readonly [status: number, headers: Readonly<Record<string, string>>]>()
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const { model } = JSON.parse(text)
    const key = (request.headers.authorization ?? '').replace('Bearer ', '')
    presented.push({ key, model })
    const [status, headers] = told.get(key) ?? [200, {}]
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(
      JSON.stringify(status === 200 ? completion(model) : { error: { message: 'no', type: 'no' } }),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    presented,
    answers: (key, status, headers = {}) => void told.set(key, [status, headers]),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

function completion(model: string) {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model,
    choices: [{ index: 0, message: { role: 'assistant', content: 'Here.' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
  }
}
