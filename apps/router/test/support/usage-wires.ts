import { event as converseEvent } from '@mesh/simulator/bedrock-converse/event-stream.ts'

/*
 * The wire formats in which providers tell what an answer used, whole and streamed, with whatever report a test puts
 * in. The text around it is the same everywhere.
 */

/** A provider's own report, in its own words. */
export type Report = Readonly<Record<string, unknown>>

export interface Wire {
  readonly provider: 'openai' | 'xai' | 'anthropic' | 'google' | 'amazon-bedrock' | 'cohere'
  /** The path that follows the base URL, and whether a request to it wants a stream. */
  readonly path: RegExp
  readonly whole: (report: Report) => string
  readonly streamed: (report: Report) => string | Buffer
  /** The type of its streams; server-sent events where it is not said. */
  readonly streamType?: string
}

/** What every answer says: long enough for any report of the tests to be true of it. */
const TEXT = 'A long and winding answer. '.repeat(80)

function sse(...bodies: readonly object[]): string {
  return bodies.map((body) => `data: ${JSON.stringify(body)}\n\n`).join('')
}

function named(...bodies: readonly { readonly type: string }[]): string {
  return bodies.map((body) => `event: ${body.type}\ndata: ${JSON.stringify(body)}\n\n`).join('')
}

const DONE = 'data: [DONE]\n\n'
const chatChoice = (delta: object, finish_reason: string | null) => ({
  choices: [{ index: 0, delta, finish_reason }],
})

function chatWire(provider: 'openai' | 'xai', end: (report: Report) => string): Wire {
  return {
    provider,
    path: /\/chat\/completions$/,
    whole: (usage) =>
      JSON.stringify({
        choices: [{ index: 0, message: { role: 'assistant', content: TEXT }, finish_reason: 'stop' }],
        usage,
      }),
    streamed: (usage) => sse(chatChoice({ role: 'assistant', content: TEXT }, null)) + end(usage) + DONE,
  }
}

/** OpenAI's chat, which tells usage in a chunk of its own. */
export const CHAT = chatWire('openai', (usage) => sse(chatChoice({}, 'stop'), { choices: [], usage }))
/** Chat of those who tell it on the chunk that finishes, as Mistral does. */
export const CHAT_ON_FINISH = chatWire('openai', (usage) => sse({ ...chatChoice({}, 'stop'), usage }))
/** Chat of Groq, which tells it in a member of its own. */
export const CHAT_IN_X_GROQ = chatWire('openai', (usage) =>
  sse({ ...chatChoice({}, 'stop'), x_groq: { usage } }),
)
/** xAI's chat, which counts what was thought beside what was said. */
export const XAI = chatWire('xai', (usage) => sse(chatChoice({}, 'stop'), { choices: [], usage }))

const message = {
  type: 'message',
  id: 'msg_1',
  status: 'completed',
  role: 'assistant',
  content: [{ type: 'output_text', text: TEXT, annotations: [] }],
}

export const RESPONSES: Wire = {
  provider: 'openai',
  path: /\/responses$/,
  whole: (usage) => JSON.stringify({ id: 'resp_1', status: 'completed', output: [message], usage }),
  streamed: (usage) =>
    named(
      { type: 'response.created', ...{ response: { id: 'resp_1', status: 'in_progress' } } },
      { type: 'response.output_item.added', ...{ output_index: 0, item: { ...message, content: [] } } },
      {
        type: 'response.output_text.delta',
        ...{ output_index: 0, item_id: 'msg_1', content_index: 0, delta: TEXT },
      },
      { type: 'response.output_item.done', ...{ output_index: 0, item: message } },
      {
        type: 'response.completed',
        ...{ response: { id: 'resp_1', status: 'completed', output: [message], usage } },
      },
    ),
}

/** Anthropic's messages; a stream's start and its end tell usage each in their own way. */
function anthropicWire(start: (usage: Report) => Report, end: (usage: Report) => Report): Wire {
  return {
    provider: 'anthropic',
    path: /\/v1\/messages$/,
    whole: (usage) =>
      JSON.stringify({
        ...{ id: 'msg_1', type: 'message', role: 'assistant' },
        ...{ content: [{ type: 'text', text: TEXT }], stop_reason: 'end_turn', usage },
      }),
    streamed: (usage) =>
      named(
        { type: 'message_start', ...{ message: { id: 'msg_1', content: [], usage: start(usage) } } },
        { type: 'content_block_start', ...{ index: 0, content_block: { type: 'text', text: '' } } },
        { type: 'content_block_delta', ...{ index: 0, delta: { type: 'text_delta', text: TEXT } } },
        { type: 'content_block_stop', ...{ index: 0 } },
        { type: 'message_delta', ...{ delta: { stop_reason: 'end_turn' }, usage: end(usage) } },
        { type: 'message_stop' },
      ),
  }
}

/** As Anthropic streams: all of the input at the start, output alone at the end. */
export const MESSAGES = anthropicWire(
  (usage) => ({ ...usage, output_tokens: 1 }),
  ({ output_tokens }) => ({ output_tokens }),
)
/** The end tells everything once more, writes to the cache without their split. */
export const MESSAGES_CUMULATIVE = anthropicWire(
  (usage) => ({ ...usage, output_tokens: 1 }),
  ({ cache_creation: _, ...usage }) => usage,
)
/** The start tells nothing that counts. */
export const MESSAGES_AT_END = anthropicWire(
  () => ({ input_tokens: 0, output_tokens: 0 }),
  (usage) => usage,
)

const candidate = { content: { role: 'model', parts: [{ text: TEXT }] }, index: 0 }

export const GEMINI: Wire = {
  provider: 'google',
  path: /:(?:stream)?[gG]enerateContent/,
  whole: (usageMetadata) =>
    JSON.stringify({ candidates: [{ ...candidate, finishReason: 'STOP' }], usageMetadata }),
  streamed: (usageMetadata) =>
    sse(
      { candidates: [candidate], usageMetadata: { ...usageMetadata, candidatesTokenCount: 1 } },
      {
        candidates: [{ content: { role: 'model', parts: [] }, index: 0, finishReason: 'STOP' }],
        usageMetadata,
      },
    ),
}

export const CONVERSE: Wire = {
  provider: 'amazon-bedrock',
  path: /\/converse(?:-stream)?$/,
  whole: (usage) =>
    JSON.stringify({
      output: { message: { role: 'assistant', content: [{ text: TEXT }] } },
      stopReason: 'end_turn',
      usage,
    }),
  streamType: 'application/vnd.amazon.eventstream',
  streamed: (usage) =>
    Buffer.concat([
      converseEvent('messageStart', { role: 'assistant' }),
      converseEvent('contentBlockDelta', { contentBlockIndex: 0, delta: { text: TEXT } }),
      converseEvent('contentBlockStop', { contentBlockIndex: 0 }),
      converseEvent('messageStop', { stopReason: 'end_turn' }),
      converseEvent('metadata', { usage, metrics: { latencyMs: 1 } }),
    ]),
}

export const COHERE: Wire = {
  provider: 'cohere',
  path: /\/chat$/,
  whole: (usage) =>
    JSON.stringify({
      ...{ id: 'c_1', finish_reason: 'COMPLETE', usage },
      message: { role: 'assistant', content: [{ type: 'text', text: TEXT }] },
    }),
  streamed: (usage) =>
    named(
      { type: 'message-start', ...{ id: 'c_1', delta: { message: { role: 'assistant' } } } },
      {
        type: 'content-start',
        ...{ index: 0, delta: { message: { content: { type: 'text', text: '' } } } },
      },
      { type: 'content-delta', ...{ index: 0, delta: { message: { content: { text: TEXT } } } } },
      { type: 'content-end', ...{ index: 0 } },
      { type: 'message-end', ...{ delta: { finish_reason: 'COMPLETE', usage } } },
    ),
}
