/*
 * Answers in two wire formats, built piece by piece, for upstreams that break off, lie and echo. Every provider-made
 * string that is no content (ids, models, fingerprints, error messages) carries `noise`, which must never come out.
 */

/** Text of an upstream is made of this word of its own, so that a mixture of two shows. */
export type Mark = 'ALPHA' | 'OMEGA'

/** How often the mark is said in a whole answer: 120 bytes, which come to 30 tokens. */
export const PIECES = 20
export const OUTPUT_TOKENS = 30
export const INPUT_TOKENS = 30

/** A provider's report, in its own words. */
export type Report = Readonly<Record<string, unknown>>

export interface Dialect {
  readonly provider: 'openai' | 'anthropic' | 'deepinfra'
  readonly model: string
  /** What comes before the first content. */
  opening(noise: string): string
  piece(text: string): string
  /** A step of the answer that carries nothing. */
  readonly emptyPiece: string
  /** Why it finished, and the usage, where it is told then. */
  finish(report: Report | undefined): string
  /** The terminal event. */
  readonly terminal: string
  /** The answer in one piece. */
  document(text: string, report: Report | undefined, noise: string): string
  /** An error: as an event of a stream, and as a body. */
  errorEvent(noise: string): string
  errorBody(noise: string): string
  /** An honest report, with the numbers changed as said. */
  report(tokens?: { readonly input?: unknown; readonly output?: unknown }): Report
  /** A tool call whose name and arguments (JSON) are these, in one event. */
  toolCall(name: string, argumentsJson: string): string
}

function sse(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`
}

function openAiLike(provider: 'openai' | 'deepinfra', model: string): Dialect {
  const chunk = (delta: object, more: object = {}): string =>
    sse({ choices: [{ index: 0, delta, finish_reason: null }], ...more })
  return {
    provider,
    model,
    opening: (noise) =>
      chunk({ role: 'assistant', content: '' }, { id: noise, model: noise, system_fingerprint: noise }),
    piece: (text) => chunk({ content: text }),
    emptyPiece: chunk({ content: '' }),
    finish: (report) =>
      sse({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }) +
      (report ? sse({ choices: [], usage: report }) : ''),
    terminal: 'data: [DONE]\n\n',
    document: (text, report, noise) =>
      JSON.stringify({
        id: noise,
        object: 'chat.completion',
        model: noise,
        system_fingerprint: noise,
        choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
        ...(report ? { usage: report } : {}),
      }),
    errorEvent: (noise) => sse({ error: { message: noise, type: noise, code: noise, param: noise } }),
    errorBody: (noise) =>
      JSON.stringify({ error: { message: noise, type: noise, code: noise, param: noise } }),
    report: ({ input = INPUT_TOKENS, output = OUTPUT_TOKENS } = {}) => ({
      prompt_tokens: input,
      completion_tokens: output,
    }),
    toolCall: (name, argumentsJson) =>
      `data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":${JSON.stringify(name)},"arguments":${argumentsJson}}}]}}]}\n\n`,
  }
}

export const OPENAI = openAiLike('openai', 'mesh/gpt-4o-mini')
/** Who answers when the first one has failed. */
export const FALLBACK = openAiLike('deepinfra', 'mesh/llama-4-maverick')

const event = (type: string, more: object = {}): string => `event: ${type}\n${sse({ type, ...more })}`

export const ANTHROPIC: Dialect = {
  provider: 'anthropic',
  model: 'mesh/claude-sonnet-4.5',
  opening: (noise) =>
    event('message_start', {
      message: {
        id: noise,
        type: 'message',
        model: noise,
        content: [],
        usage: { input_tokens: INPUT_TOKENS, output_tokens: 1 },
      },
    }) +
    event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }) +
    event('ping'),
  piece: (text) => event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } }),
  emptyPiece: event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: '' } }),
  finish: (report) =>
    event('content_block_stop', { index: 0 }) +
    event('message_delta', { delta: { stop_reason: 'end_turn' }, ...(report ? { usage: report } : {}) }),
  terminal: event('message_stop'),
  document: (text, report, noise) =>
    JSON.stringify({
      id: noise,
      type: 'message',
      role: 'assistant',
      model: noise,
      content: [{ type: 'text', text }],
      stop_reason: 'end_turn',
      ...(report ? { usage: report } : {}),
    }),
  errorEvent: (noise) => event('error', { error: { type: noise, message: noise } }),
  errorBody: (noise) => JSON.stringify({ type: 'error', error: { type: noise, message: noise } }),
  report: ({ input = INPUT_TOKENS, output = OUTPUT_TOKENS } = {}) => ({
    input_tokens: input,
    output_tokens: output,
  }),
  toolCall: (name, argumentsJson) =>
    `event: content_block_start\ndata: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":${JSON.stringify(name)},"input":${argumentsJson}}}\n\n`,
}

export const DIALECTS = [OPENAI, ANTHROPIC] as const

export interface WholeAnswer {
  readonly mark: Mark
  readonly streamed: boolean
  readonly noise: string
  /** An honest one where it is not given; `null` for none. */
  readonly report?: Report | null
  /** How often the mark is said. */
  readonly pieces?: number
}

/** A whole answer as the body that was asked for. */
export function wholeBody(
  dialect: Dialect,
  { mark, streamed, noise, report, pieces = PIECES }: WholeAnswer,
): string {
  const told = report === undefined ? dialect.report() : (report ?? undefined)
  if (!streamed) return dialect.document(`${mark} `.repeat(pieces), told, noise)
  const content = dialect.piece(`${mark} `).repeat(pieces)
  return dialect.opening(noise) + content + dialect.finish(told) + dialect.terminal
}

/** The head of an answer. Connections are for one answer each. */
export function headOf(status: number, headers: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries({ connection: 'close', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  return `HTTP/1.1 ${status} Status\r\n${lines.join('')}\r\n`
}

/** An answer with its length, as most servers send one. */
export function answerOf(body: string | Uint8Array, headers: Readonly<Record<string, string>> = {}): Buffer {
  const bytes = Buffer.from(body)
  return Buffer.concat([
    Buffer.from(headOf(200, { 'content-length': String(bytes.length), ...headers })),
    bytes,
  ])
}

/** A piece of a body in HTTP's chunked coding, and its end. */
export function chunked(bytes: string): string {
  return bytes === '' ? '' : `${Buffer.byteLength(bytes).toString(16)}\r\n${bytes}\r\n`
}
export const CHUNKED_END = '0\r\n\r\n'
