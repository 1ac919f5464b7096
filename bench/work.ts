import { Buffer } from 'node:buffer'

/** What every call of the bench asks and gets: 0.8 KB in and 0.7 KB out, as in `docs/performance.md`. */

/** Of the catalogue's models one that does not think, so that a call is one hold and one settlement. */
export const MODEL = 'mesh/gpt-4.1'
const PROMPT = `Say something of use. ${'The quick brown fox jumps over the lazy dog. '.repeat(14)}`
const ANSWER = 'A fox that jumps over dogs is quick; a dog that lets it is lazy. '.repeat(5)
const PIECES = ANSWER.match(/.{1,20}/g) ?? []
const USAGE = {
  prompt_tokens: 150,
  completion_tokens: 80,
  total_tokens: 230,
  prompt_tokens_details: { cached_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 0 },
}
const SHARED = { id: 'chatcmpl-bench', created: 1_700_000_000, model: 'gpt-4.1-2025-04-14' }

export type WorkKind = 'json' | 'sse'

/** The body of a call. */
export function requestBody(kind: WorkKind): string {
  return JSON.stringify({
    model: MODEL,
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content: PROMPT },
    ],
    max_tokens: 256,
    ...(kind === 'sse' ? { stream: true, stream_options: { include_usage: true } } : {}),
  })
}

/** The body of a stream that goes on until its reader leaves. It names no cap, so its hold grows with it. */
export function endlessRequestBody(): string {
  return JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: PROMPT }], stream: true })
}

/** The mock's answer in one piece. */
export const JSON_ANSWER = JSON.stringify({
  ...SHARED,
  object: 'chat.completion',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: ANSWER, refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: USAGE,
})

function chunk(delta: object, rest: object = {}): string {
  const choice = { index: 0, delta, logprobs: null, finish_reason: null, ...rest }
  return `data: ${JSON.stringify({ ...SHARED, object: 'chat.completion.chunk', choices: [choice], usage: null })}\n\n`
}

/** A chunk with a piece of text, of about 230 bytes. */
export const TEXT_CHUNK = chunk({ content: ' quick brown' })
export const ROLE_CHUNK = chunk({ role: 'assistant', content: '', refusal: null })

/** The mock's answer as a stream that is sent at once. */
export const STREAM_ANSWER = [
  ROLE_CHUNK,
  ...PIECES.map((content) => chunk({ content })),
  chunk({}, { finish_reason: 'stop' }),
  `data: ${JSON.stringify({ ...SHARED, object: 'chat.completion.chunk', choices: [], usage: USAGE })}\n\n`,
  'data: [DONE]\n\n',
].join('')

/** The head and body of a request, ready to be written to a socket. */
export function rawRequest(
  port: number,
  kind: WorkKind,
  headers: Readonly<Record<string, string>>,
  body: string,
): Buffer {
  const lines = [
    'POST /v1/chat/completions HTTP/1.1',
    `host: 127.0.0.1:${port}`,
    'content-type: application/json',
    `accept: ${ACCEPTS[kind]}`,
    `content-length: ${Buffer.byteLength(body)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`)
}

/** By it the mock knows how to answer: every proxy passes it on, or says it anew. */
export const ACCEPTS = { json: 'application/json', sse: 'text/event-stream' } as const
