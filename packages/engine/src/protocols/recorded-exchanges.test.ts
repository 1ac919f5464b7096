import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ABSENT, decodeAll, type Expected, nothing } from '../../test/recorded-answers.ts'
import { type RecordedExchange, recordedExchanges } from '../../test/recorded-exchanges.ts'
import { anthropicMessages } from './anthropic-messages.ts'
import { openaiChat } from './openai-chat.ts'

/*
 * What real providers answered, decoded and compared with what the record holds. The expectation is put together here
 * from the record itself, with none of the code under test: plain `JSON.parse`, and lines split at line feeds.
 */

interface RecordedPiece {
  type: string
  text?: string
  thinking?: { text: string }[]
}

interface RecordedPart {
  content?: string | null | RecordedPiece[]
  reasoning?: string | null
  reasoning_content?: string | null
  tool_calls?: { index: number; id: string; function: { name?: string; arguments?: string } }[] | null
}

interface RecordedChunk {
  error?: object
  choices?: { delta?: RecordedPart; message?: RecordedPart; finish_reason?: string | null }[]
  usage?: {
    prompt_tokens: number
    completion_tokens: number
    total_tokens: number
    num_cached_tokens?: number
    prompt_tokens_details?: { cached_tokens?: number; cache_write_tokens?: number } | null
    completion_tokens_details?: { reasoning_tokens?: number } | null
  } | null
}

interface RecordedBlock {
  type: string
  id: string
  name: string
  text: string
  thinking: string
  input: object
  /** The pieces of `input`, as a stream sends them. */
  json?: string
}

interface RecordedUsage {
  input_tokens: number
  output_tokens: number
  cache_read_input_tokens: number
  cache_creation_input_tokens: number
  output_tokens_details?: { thinking_tokens: number }
}

type RecordedEvent =
  | { type: 'message_start'; message: { usage: RecordedUsage } }
  | { type: 'content_block_start'; index: number; content_block: RecordedBlock }
  | {
      type: 'content_block_delta'
      index: number
      delta: { text?: string; thinking?: string; partial_json?: string }
    }
  | { type: 'message_delta'; delta: { stop_reason: string }; usage: Partial<RecordedUsage> }
  | { type: 'ping' | 'content_block_stop' | 'message_stop' }

function dataLines<Message>(body: string): Message[] {
  return body
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)))
}

function expectedOfChat(exchange: RecordedExchange): Expected {
  const expected = nothing()
  const argumentTexts: string[] = []
  const messages: RecordedChunk[] = exchange.body.startsWith('{')
    ? [JSON.parse(exchange.body)]
    : dataLines(exchange.body)
  for (const message of messages) {
    if (message.error) expected.error = true
    for (const choice of message.choices ?? []) {
      const part = choice.delta ?? choice.message ?? {}
      const text = typeof part.content === 'string' ? part.content : ''
      const pieces: RecordedPiece[] = Array.isArray(part.content) ? part.content : [{ type: 'text', text }]
      for (const piece of pieces) {
        if (piece.type === 'text') expected.text += piece.text ?? ''
        if (piece.type === 'thinking') {
          expected.reasoning += (piece.thinking ?? []).map((thought) => thought.text).join('')
        }
      }
      expected.reasoning += part.reasoning_content ?? part.reasoning ?? ''
      for (const [position, call] of (part.tool_calls ?? []).entries()) {
        const index = choice.message ? position : call.index
        if (call.function.name)
          expected.calls[index] = { id: call.id, name: call.function.name, arguments: '' }
        argumentTexts[index] = (argumentTexts[index] ?? '') + (call.function.arguments ?? '')
      }
      if (choice.finish_reason) expected.finish = choice.finish_reason
    }
    if (message.usage) {
      const { prompt_tokens, completion_tokens, total_tokens } = message.usage
      expected.inputTotal = prompt_tokens
      expected.outputTotal = Math.max(completion_tokens, total_tokens - prompt_tokens)
      expected.reasoningTokens = message.usage.completion_tokens_details?.reasoning_tokens ?? 0
      expected.cacheRead =
        message.usage.prompt_tokens_details?.cached_tokens ?? message.usage.num_cached_tokens ?? 0
      expected.cacheWrite = message.usage.prompt_tokens_details?.cache_write_tokens ?? 0
      // One record counts the same tokens as read and as written: they are charged once, at the dearer rate.
      if (expected.cacheRead + expected.cacheWrite > prompt_tokens) expected.cacheRead -= expected.cacheWrite
    }
  }
  for (const [index, call] of expected.calls.entries()) call.arguments = argumentTexts[index]
  return expected
}

const STOP_REASONS: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  pause_turn: 'stop',
  compaction: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
}

function expectedOfMessages(exchange: RecordedExchange): Expected {
  const expected = nothing()
  let blocks: RecordedBlock[] = []
  let usage: RecordedUsage = {
    input_tokens: 0,
    output_tokens: 0,
    cache_read_input_tokens: 0,
    cache_creation_input_tokens: 0,
  }
  let stopReason: string | undefined
  if (exchange.body.startsWith('{')) {
    const message = JSON.parse(exchange.body)
    blocks = message.content
    usage = message.usage
    stopReason = message.stop_reason
  }
  for (const event of exchange.body.startsWith('{') ? [] : dataLines<RecordedEvent>(exchange.body)) {
    if (event.type === 'message_start') usage = event.message.usage
    if (event.type === 'content_block_start') blocks[event.index] = { ...event.content_block, json: '' }
    if (event.type === 'content_block_delta') {
      const block = blocks[event.index]
      assert.ok(block)
      if (event.delta.text !== undefined) block.text += event.delta.text
      if (event.delta.thinking !== undefined) block.thinking += event.delta.thinking
      if (event.delta.partial_json !== undefined) block.json += event.delta.partial_json
    }
    if (event.type === 'message_delta') {
      usage = { ...usage, ...event.usage }
      stopReason = event.delta.stop_reason
    }
  }
  for (const block of blocks) {
    if (block.type === 'text') expected.text += block.text
    if (block.type === 'thinking') expected.reasoning += block.thinking
    if (block.type === 'tool_use') {
      const input = block.json ? JSON.parse(block.json) : block.input
      expected.calls.push({ id: block.id, name: block.name, arguments: JSON.stringify(input) })
    }
  }
  expected.finish = STOP_REASONS[stopReason ?? '']
  expected.cacheRead = usage.cache_read_input_tokens
  expected.cacheWrite = usage.cache_creation_input_tokens
  expected.inputTotal = usage.input_tokens + expected.cacheRead + expected.cacheWrite
  expected.outputTotal = usage.output_tokens
  expected.reasoningTokens = usage.output_tokens_details?.thinking_tokens ?? 0
  return expected
}

const FAMILIES = [
  { name: 'chat completions', path: '/chat/completions', protocol: openaiChat, expectedOf: expectedOfChat },
  { name: 'messages', path: '/v1/messages', protocol: anthropicMessages, expectedOf: expectedOfMessages },
]

for (const { name, path, protocol, expectedOf } of FAMILIES) {
  test(`every recorded answer in ${name} decodes to what the record holds`, (t) => {
    const exchanges = recordedExchanges(path)
    if (!exchanges) return t.skip(ABSENT)
    const answers = exchanges.filter((exchange) => exchange.status < 300)
    decodeAll(t, answers, protocol, expectedOf)
  })

  test(`every recorded refusal in ${name} is put into its class`, (t) => {
    const exchanges = recordedExchanges(path)
    if (!exchanges) return t.skip(ABSENT)
    const refusals = exchanges.filter((exchange) => exchange.status >= 300)
    for (const { file, status, headers, body } of refusals) {
      const failure = protocol.classify(status, headers, body)
      t.diagnostic(`${file}: ${status} ${failure.outcome} ${failure.reason}`)
      assert.equal(failure.status, status)
      if (status === 404) assert.equal(failure.reason, 'model_not_found')
      if (status === 429) assert.equal(failure.reason, 'rate_limited')
      if (status === 404 || status === 429) assert.equal(failure.outcome, 'refused_unbilled')
      // A 400 is the request's fault, but for the one in which Groq's model wrote a call that fits no tool.
      if (status === 400 && !body.includes('tool_use_failed')) assert.equal(failure.outcome, 'request_fault')
    }
    assert.ok(refusals.length > 0)
  })
}
