import { newCanary } from './canary-search.ts'
import { STREAM_END, streamPayloads } from './chat-stream.ts'
import type { RouterProcess } from './router-process.ts'

/** Every text that must be found nowhere, each under the name of the place that it was put into. */
export class Canaries {
  readonly texts = new Map<string, string>()

  /** The canary of a place, always the same one. */
  of(place: string): string {
    const text = this.texts.get(place) ?? newCanary()
    this.texts.set(place, text)
    return text
  }

  /** A secret: what is random of it. */
  secret(place: string, text: string): void {
    this.texts.set(place, text.replace(/^mesh_(live|test|admin)_/, ''))
  }
}

interface Answer {
  readonly what: string
  readonly status: number
  readonly text: string
}

/** A conversation with a canary in everything that a caller can write. */
export function conversation(canaries: Canaries, model: string, extras: object = {}): object {
  const image = Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), Buffer.from(canaries.of('image'))])
  const call = { id: canaries.of('tool call id'), type: 'function' }
  return {
    model,
    messages: [
      { role: 'system', content: canaries.of('system'), name: canaries.of('participant') },
      { role: 'user', content: `${canaries.of('prompt')} ${canaries.of('reply')} ${'word '.repeat(60)}` },
      {
        role: 'assistant',
        content: canaries.of('assistant'),
        tool_calls: [
          {
            ...call,
            function: { name: 'look', arguments: JSON.stringify({ at: canaries.of('arguments') }) },
          },
        ],
      },
      { role: 'tool', tool_call_id: call.id, content: canaries.of('tool result') },
      {
        role: 'user',
        content: [
          { type: 'text', text: `Say: ${canaries.of('reply')} and ${canaries.of('reply')} again.` },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${image.toString('base64')}` } },
        ],
      },
    ],
    tools: [
      {
        type: 'function',
        function: {
          name: 'look',
          description: canaries.of('tool description'),
          parameters: {
            type: 'object',
            properties: {
              at: { type: 'string', description: canaries.of('property description') },
              [canaries.of('property name')]: { type: 'string', enum: [canaries.of('reply arguments')] },
            },
            required: ['at', canaries.of('property name')],
          },
        },
      },
      { type: 'function', function: { name: canaries.of('tool name') } },
    ],
    response_format: {
      type: 'json_schema',
      json_schema: {
        name: canaries.of('schema name'),
        description: canaries.of('schema description'),
        schema: { type: 'object', properties: { [canaries.of('schema property')]: { type: 'string' } } },
      },
    },
    stop: [canaries.of('stop')],
    user: canaries.of('user'),
    safety_identifier: canaries.of('safety identifier'),
    session_id: canaries.of('session'),
    prompt_cache_key: canaries.of('cache key'),
    [canaries.of('unknown parameter')]: canaries.of('unknown value'),
    max_tokens: 200,
    ...extras,
  }
}

/** The same in Anthropic's shape: a canary in everything that it has besides. */
export function messagesOf(canaries: Canaries, model: string, extras: object = {}): object {
  const id = canaries.of('tool use id')
  const mark = { type: 'ephemeral' }
  return {
    model,
    max_tokens: 200,
    system: [{ type: 'text', text: canaries.of('messages system'), cache_control: mark }],
    messages: [
      { role: 'user', content: canaries.of('messages prompt') },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: canaries.of('thinking'), signature: '' },
          { type: 'text', text: canaries.of('messages assistant') },
          { type: 'tool_use', id, name: 'look', input: { at: canaries.of('tool use input') } },
        ],
      },
      {
        role: 'user',
        content: [
          {
            type: 'tool_result',
            tool_use_id: id,
            content: [{ type: 'text', text: canaries.of('messages tool result') }],
          },
          {
            type: 'document',
            title: canaries.of('document title'),
            context: canaries.of('document context'),
            source: { type: 'text', media_type: 'text/plain', data: canaries.of('document') },
          },
          { type: 'text', text: `Say: ${canaries.of('reply')} and ${canaries.of('reply')} again.` },
        ],
      },
    ],
    tools: [
      {
        name: 'look',
        description: canaries.of('messages tool description'),
        input_schema: { type: 'object', properties: { at: { type: 'string' } } },
        [canaries.of('unknown tool member')]: canaries.of('unknown tool value'),
      },
    ],
    stop_sequences: [canaries.of('stop sequence')],
    session_id: canaries.of('messages session'),
    [canaries.of('unknown messages parameter')]: canaries.of('unknown messages value'),
    metadata: { user_id: canaries.of('user id'), mesh_simulate: 'echo' },
    ...extras,
  }
}

/** The same in the shape of OpenAI's Responses: a canary in everything that it has besides. */
export function responsesOf(canaries: Canaries, model: string, extras: object = {}): object {
  const id = canaries.of('item call id')
  return {
    model,
    max_output_tokens: 200,
    instructions: canaries.of('instructions'),
    input: [
      { role: 'developer', content: [{ type: 'input_text', text: canaries.of('developer') }] },
      { role: 'user', content: canaries.of('responses prompt') },
      {
        type: 'reasoning',
        id: canaries.of('reasoning item'),
        summary: [{ type: 'summary_text', text: canaries.of('summary') }],
        content: [{ type: 'reasoning_text', text: canaries.of('reasoning text') }],
      },
      {
        type: 'message',
        id: canaries.of('message item'),
        role: 'assistant',
        content: [{ type: 'output_text', text: canaries.of('responses assistant'), annotations: [] }],
      },
      {
        type: 'function_call',
        call_id: id,
        name: 'look',
        arguments: JSON.stringify({ at: canaries.of('item arguments') }),
      },
      { type: 'function_call_output', call_id: id, output: canaries.of('item output') },
      { role: 'user', content: `Say: ${canaries.of('reply')} and ${canaries.of('reply')} again.` },
    ],
    tools: [
      {
        type: 'function',
        name: 'look',
        description: canaries.of('responses tool description'),
        parameters: { type: 'object', properties: { at: { type: 'string' } } },
      },
    ],
    user: canaries.of('responses user'),
    prompt_cache_key: canaries.of('responses cache key'),
    session_id: canaries.of('responses session'),
    [canaries.of('unknown responses parameter')]: canaries.of('unknown responses value'),
    ...metadataOf(canaries, 'echo'),
    ...extras,
  }
}

export function metadataOf(canaries: Canaries, steering: string): { readonly metadata: object } {
  return {
    metadata: { [canaries.of('metadata name')]: canaries.of('metadata value'), mesh_simulate: steering },
  }
}

/** What a stream's chunk says: replies come in pieces shorter than any canary. */
function saidBy(payload: string): string {
  if (payload === STREAM_END) return ''
  const chunk = JSON.parse(payload)
  if (typeof chunk.delta === 'string') return chunk.delta
  if (chunk.type !== undefined) return `${chunk.delta?.text ?? ''}${chunk.delta?.partial_json ?? ''}`
  const { delta } = chunk.choices?.[0] ?? {}
  return `${delta?.content ?? ''}${delta?.tool_calls?.[0]?.function?.arguments ?? ''}`
}

/** The error of a stream's chunk, where it is one: beside everything else, or in the response that failed. */
function errorIn(payload: string): string {
  if (!payload.includes('"error"')) return ''
  const { error, response } = JSON.parse(payload)
  return JSON.stringify(error ?? response?.error ?? '')
}

/** A router in a process of its own or in this one. */
type CalledRouter = Pick<RouterProcess, 'url' | 'testKey' | 'adminKey' | 'request'>

/** A router, everything that is said to it and all that it answered with errors. */
export class CanaryCaller {
  readonly canaries: Canaries
  readonly router: CalledRouter
  /** Errors, whole or as the last chunk of a stream, and the headers of every answer. */
  readonly errors: Answer[] = []

  constructor(router: CalledRouter, canaries: Canaries) {
    this.router = router
    this.canaries = canaries
  }

  get key(): string {
    return this.router.testKey ?? ''
  }

  async chat(
    body: object | string,
    headers: Readonly<Record<string, string>> = {},
    signal?: AbortSignal,
    path = '/v1/chat/completions',
  ) {
    const { canaries } = this
    return await fetch(`${this.router.url}${path}?trace=${canaries.of('query')}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.key}`,
        'content-type': 'application/json',
        'x-request-id': canaries.of('request id'),
        'user-agent': canaries.of('user agent'),
        'openai-organization': canaries.of('organization'),
        ...headers,
      },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...(signal ? { signal } : {}),
    })
  }

  /** Makes a call to its end, keeps what is an error of the answer, and returns what it says. */
  async call(
    what: string,
    body: object | string,
    headers: Readonly<Record<string, string>> = {},
    path?: string,
  ): Promise<Answer> {
    const response = await this.chat(body, headers, undefined, path)
    const { status } = response
    const told = JSON.stringify([...response.headers])
    if (!response.headers.get('content-type')?.startsWith('text/event-stream')) {
      const text = await response.text()
      this.errors.push({ what, status, text: status === 200 ? told : `${told}${text}` })
      return { what, status, text }
    }
    let text = ''
    let errors = ''
    for await (const payload of streamPayloads(response)) {
      text += saidBy(payload)
      errors += errorIn(payload)
    }
    this.errors.push({ what, status, text: `${told}${errors}` })
    return { what, status, text }
  }

  /** Any other route, whose answer is kept whole where it is an error. */
  async ask(method: string, path: string, body?: unknown, key = this.key): Promise<Answer> {
    const answered = await this.router.request(method, path, { key, ...(body === undefined ? {} : { body }) })
    const answer = { what: `${method} ${path}`, status: answered.status, text: answered.text }
    if (answered.status >= 400)
      this.errors.push({ ...answer, text: JSON.stringify([...answered.headers]) + answered.text })
    return answer
  }
}
