import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import fc from 'fast-check'
import * as z from 'zod'
import { decodeInPieces, type GatheredAnswer, gather } from '../../../test/decode-in-pieces.ts'
import { DEFAULT_ANSWER_BOUNDS } from '../../protocol.ts'
import { messagesDecoder } from '../../protocols/anthropic-messages-decode.ts'
import type { FinishReason, StreamEvent } from '../../stream-event.ts'
import type { ReplyClosing, ReplyInfo } from '../reply.ts'
import { messagesErrorBody } from './reply.ts'
import { createMessageReply } from './reply-json.ts'
import { createMessageStream } from './reply-stream.ts'
import { parseMessages } from './request.ts'

const info: ReplyInfo = {
  id: 'req_01k9zzzzzzzzzzzzzzzzzzzzzz',
  createdSeconds: 1_763_000_000,
  served: { model: 'mesh/claude-sonnet-4.5', provider: 'anthropic', protocol: 'anthropic_messages' },
  input: { ...EMPTY_BUCKETS, input: 10, cacheRead: 20 },
  usageChunk: false,
  excludeReasoning: false,
}
const closing: ReplyClosing = {
  finishReason: 'length',
  usage: {
    buckets: {
      ...EMPTY_BUCKETS,
      input: 10,
      cacheRead: 20,
      cacheWrite5m: 3,
      cacheWrite1h: 4,
      output: 5,
      reasoning: 6,
    },
    upstreamNano: 8_000_000n,
    marginNano: 775_000n,
  },
  routing: { requested: 'auto', snapshot: 's1' },
}

const block = z.looseObject({ type: z.string() })
const streamEvent = z.looseObject({
  type: z.string(),
  index: z.number().optional(),
  content_block: block.optional(),
  delta: z.looseObject({ type: z.string().optional() }).optional(),
})
type Sent = z.infer<typeof streamEvent>

/** Reads a stream as strictly as it is documented: the event's name is its type, each line is JSON. */
function eventsOf(stream: string): Sent[] {
  return stream
    .split('\n\n')
    .filter((text) => text !== '')
    .map((text) => {
      const [name, data, ...more] = text.split('\n')
      assert.deepEqual(more, [])
      const event = streamEvent.parse(JSON.parse(data?.replace(/^data: /, '') ?? ''))
      assert.equal(name, `event: ${event.type}`)
      return event
    })
}

function streamOf(events: readonly StreamEvent[], about: ReplyInfo = info): string {
  const reply = createMessageStream(about)
  return events.map((event) => reply.event(event)).join('') + reply.finish(closing)
}

function messageOf(events: readonly StreamEvent[], about: ReplyInfo = info) {
  const reply = createMessageReply(about)
  for (const event of events) reply.event(event)
  return JSON.parse(reply.finish(closing))
}

/** Blocks begin one after the other, in the order of their indexes, and each ends before the next begins. */
function assertInOrder(events: readonly Sent[]): void {
  assert.equal(events[0]?.type, 'message_start')
  assert.deepEqual(
    events.slice(-2).map(({ type }) => type),
    ['message_delta', 'message_stop'],
  )
  let open: number | undefined
  let next = 0
  for (const { type, index } of events.slice(1, -2)) {
    if (type === 'content_block_start') {
      assert.equal(open, undefined)
      assert.equal(index, next)
      open = next
      next += 1
    } else {
      assert.equal(index, open)
      if (type === 'content_block_stop') open = undefined
      else assert.equal(type, 'content_block_delta')
    }
  }
  assert.equal(open, undefined)
}

const texts = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 })
const FINISHES: readonly FinishReason[] = ['stop', 'length', 'tool_calls', 'content_filter']

/** Parallel calls whose arguments come in pieces, mixed with each other and with texts and thoughts. */
const answers = fc
  .record({
    calls: fc.array(fc.record({ input: fc.dictionary(texts, fc.jsonValue()), size: fc.nat({ max: 9 }) }), {
      maxLength: 4,
    }),
    order: fc.infiniteStream(fc.nat()),
    said: fc.array(
      fc.oneof(
        texts.map((text): StreamEvent => ({ type: 'text', choice: 0, text })),
        texts.map((text): StreamEvent => ({ type: 'reasoning', choice: 0, text })),
        texts.map((signature): StreamEvent => ({ type: 'reasoning-end', choice: 0, signature })),
        texts.map((redacted): StreamEvent => ({ type: 'reasoning-end', choice: 0, redacted })),
      ),
      { maxLength: 8 },
    ),
    finish: fc.constantFrom(...FINISHES),
  })
  .map(({ calls, order, said, finish }) => {
    const tracks: StreamEvent[][] = calls.map(({ input, size }, index) => {
      const json = JSON.stringify(input)
      const step = size + 1
      const pieces = Array.from({ length: Math.ceil(json.length / step) }, (_, at) =>
        json.slice(at * step, (at + 1) * step),
      )
      return [
        { type: 'tool-call', choice: 0, index, id: `toolu_${index}`, name: 'look' },
        ...pieces.map((fragment): StreamEvent => ({ type: 'tool-arguments', choice: 0, index, fragment })),
      ]
    })
    const waiting = [[...said], ...tracks]
    const events: StreamEvent[] = []
    let begun = 0
    while (waiting.some((track) => track.length > 0)) {
      // Calls begin in the order of their indexes.
      const ready = waiting.filter((track, at) => track.length > 0 && at <= begun + 1)
      const track = ready[(order.next().value ?? 0) % ready.length] ?? ready[0]
      const event = track?.shift()
      if (!event) break
      if (event.type === 'tool-call') begun = event.index + 1
      events.push(event)
    }
    return [...events, { type: 'finish' as const, choice: 0, reason: finish }]
  })

/** What calls tools has stopped for them. */
function asCaller(event: StreamEvent, _: number, all: readonly StreamEvent[]): StreamEvent {
  if (event.type !== 'finish' || event.reason !== 'stop') return event
  return all.some(({ type }) => type === 'tool-call') ? { ...event, reason: 'tool_calls' } : event
}

/** What must be the same however an answer went: all texts, thoughts, proofs and calls. */
function contentOf(answer: GatheredAnswer) {
  const [choice] = answer.choices
  return {
    ...choice,
    calls: choice?.calls.map(({ id, name, arguments: text }) => ({ id, name, input: JSON.parse(text) })),
  }
}

test('gateways peer bug 17: whatever is interleaved comes out block by block, and nothing is lost', () => {
  fc.assert(
    fc.property(answers, (events) => {
      const stream = streamOf(events)
      assertInOrder(eventsOf(stream))
      const wanted = contentOf(gather(events.map(asCaller)))
      const read = gather(decodeInPieces(messagesDecoder(DEFAULT_ANSWER_BOUNDS), stream))
      assert.ok(read.ended)
      assert.deepEqual(contentOf(read), wanted)
      const message = JSON.stringify(messageOf(events))
      const readWhole = gather(decodeInPieces(messagesDecoder(DEFAULT_ANSWER_BOUNDS), message))
      assert.deepEqual(contentOf(readWhole), wanted)
    }),
  )
})

test('a lone call streams as it comes, and so does the next one when the first is whole', () => {
  const reply = createMessageStream(info)
  const call = (index: number): StreamEvent => ({
    type: 'tool-call',
    choice: 0,
    index,
    id: `a${index}`,
    name: 'look',
  })
  const piece = (index: number, fragment: string): StreamEvent => ({
    type: 'tool-arguments',
    choice: 0,
    index,
    fragment,
  })
  reply.event(call(0))
  assert.match(reply.event(piece(0, '{"a":"}"')), /input_json_delta/)
  assert.equal(reply.event(call(1)), '')
  assert.equal(reply.event(piece(1, '{"b":')), '')
  const closed = eventsOf(reply.event(piece(0, '}')) + reply.event(piece(1, '1}')))
  assert.deepEqual(
    closed.map(({ type, index }) => `${type} ${index}`),
    [
      'content_block_delta 0',
      'content_block_stop 0',
      'content_block_start 1',
      'content_block_delta 1',
      'content_block_delta 1',
    ],
  )
})

test('a thought that proves nothing ends with an empty signature, without which some clients would not give it back', () => {
  const sent = streamOf([
    { type: 'reasoning', choice: 0, text: 'Hm' },
    { type: 'reasoning-end', choice: 0 },
    { type: 'text', choice: 0, text: 'Hi' },
  ])
  const delta = '"delta":{"type":"signature_delta","signature":""}'
  assert.match(sent, new RegExp(`"index":0,${delta}}\\n\\nevent: content_block_stop`))
  assert.equal(sent.split(delta).length, 2)
})

test('a message in one piece, member by member', () => {
  const message = messageOf([
    { type: 'reasoning', choice: 0, text: 'Hm' },
    { type: 'reasoning-end', choice: 0, signature: 'sig' },
    { type: 'text', choice: 0, text: 'Hi' },
    { type: 'tool-call', choice: 0, index: 0, id: 'toolu_1', name: 'look' },
    { type: 'tool-arguments', choice: 0, index: 0, fragment: '{"at":1}' },
    { type: 'finish', choice: 0, reason: 'tool_calls' },
  ])
  assert.deepEqual(message, {
    id: info.id,
    type: 'message',
    role: 'assistant',
    model: 'mesh/claude-sonnet-4.5',
    provider: 'anthropic',
    content: [
      { type: 'thinking', thinking: 'Hm', signature: 'sig' },
      { type: 'text', text: 'Hi', citations: null },
      { type: 'tool_use', id: 'toolu_1', name: 'look', input: { at: 1 } },
    ],
    stop_reason: 'tool_use',
    stop_sequence: null,
    stop_details: null,
    routing: closing.routing,
    usage: {
      input_tokens: 10,
      cache_creation_input_tokens: 7,
      cache_read_input_tokens: 20,
      cache_creation: { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: 4 },
      output_tokens: 11,
      output_tokens_details: { thinking_tokens: 6 },
      server_tool_use: null,
      service_tier: 'standard',
      cost: 0.008775,
      cost_details: { upstream_cost: '0.008000000', margin: '0.000775000', total: '0.008775000' },
    },
  })
})

test('why an answer ended, in the words of this shape', () => {
  const stopOf = (...events: StreamEvent[]) => {
    const { stop_reason, stop_sequence } = messageOf(events)
    const delta = eventsOf(streamOf(events)).at(-2)?.delta
    assert.deepEqual(delta, { stop_reason, stop_sequence, stop_details: null })
    return [stop_reason, stop_sequence]
  }
  const finish = (reason: FinishReason, more: object = {}): StreamEvent => ({
    type: 'finish',
    choice: 0,
    reason,
    ...more,
  })
  assert.deepEqual(stopOf(finish('stop')), ['end_turn', null])
  assert.deepEqual(stopOf(finish('stop', { stopSequence: 'END' })), ['stop_sequence', 'END'])
  assert.deepEqual(stopOf(finish('length')), ['max_tokens', null])
  assert.deepEqual(stopOf(finish('tool_calls')), ['tool_use', null])
  assert.deepEqual(stopOf(finish('content_filter')), ['refusal', null])
  assert.deepEqual(stopOf({ type: 'refusal', choice: 0, text: 'No.' }, finish('stop')), ['refusal', null])
  // An answer that is cut when credit ends has no end of its own.
  assert.deepEqual(stopOf({ type: 'text', choice: 0, text: 'It' }), ['max_tokens', null])
})

test('arguments that are no object are shown as what they are', () => {
  const inputOf = (fragment: string) =>
    messageOf([
      { type: 'tool-call', choice: 0, index: 0, id: 'a', name: 'look' },
      { type: 'tool-arguments', choice: 0, index: 0, fragment },
    ]).content[0].input
  assert.deepEqual(inputOf('{"a":'), { INVALID_JSON: '{"a":' })
  assert.deepEqual(inputOf('[1]'), { INVALID_JSON: '[1]' })
  assert.deepEqual(inputOf(''), {})
})

test('whoever wants no thinking still gets what proves it', () => {
  const events: StreamEvent[] = [
    { type: 'reasoning', choice: 0, text: 'secretly' },
    { type: 'reasoning-end', choice: 0, signature: 'sig' },
    { type: 'text', choice: 0, text: 'Hi' },
  ]
  const about = { ...info, excludeReasoning: true }
  assert.doesNotMatch(streamOf(events, about), /secretly/)
  assert.deepEqual(messageOf(events, about).content[0], { type: 'thinking', thinking: '', signature: 'sig' })
})

test("another maker's thinking comes back as that maker's own", () => {
  const about: ReplyInfo = {
    ...info,
    served: { model: 'mesh/gemini-3-flash', provider: 'google', protocol: 'gemini' },
  }
  const { content } = messageOf(
    [
      { type: 'reasoning', choice: 0, text: 'Hm' },
      { type: 'reasoning-end', choice: 0, signature: 'c2ln' },
      { type: 'reasoning-end', choice: 0, redacted: 'ZGF0YQ==' },
    ],
    about,
  )
  const reasoningOf = (blocks: unknown) => {
    const parsed = parseMessages(
      {
        model: 'a',
        max_tokens: 5,
        messages: [
          { role: 'user', content: 'Hello' },
          { role: 'assistant', content: blocks },
        ],
      },
      { pseudonym: () => '' },
    )
    const message = parsed.ok ? parsed.request.ask.messages[1] : undefined
    return message?.role === 'assistant' ? message.reasoning : undefined
  }
  assert.deepEqual(reasoningOf(content), [
    { text: 'Hm', signature: 'c2ln', format: 'google-gemini-v1' },
    { text: '', redacted: 'ZGF0YQ==', format: 'google-gemini-v1' },
  ])
  // A model that proves nothing gets its thought back as it gave it.
  assert.deepEqual(reasoningOf([{ type: 'thinking', thinking: 'Hm', signature: '' }]), [{ text: 'Hm' }])
})

const FAULT = { status: 502, message: 'Try again.', type: 'server_error', code: 'provider_error' }

test('a failure is an error event with receipt and usage, and no message_stop', () => {
  const reply = createMessageStream(info)
  const begun = reply.event({ type: 'text', choice: 0, text: 'Hi' })
  const sent = eventsOf(begun + reply.fail({ error: FAULT, receiptId: 'rcpt_1', usage: closing.usage }))
  assert.ok(!sent.some(({ type }) => type === 'message_stop'))
  const last = sent.at(-1)
  assert.equal(last?.request_id, info.id)
  const error = z
    .object({ type: z.string(), metadata: z.object({ receipt_id: z.string(), usage: z.object({}).loose() }) })
    .parse(last?.error)
  assert.deepEqual(
    [error.type, error.metadata.receipt_id, error.metadata.usage.output_tokens],
    ['api_error', 'rcpt_1', 11],
  )
})

test("every status has one of Anthropic's error types", () => {
  const typeOf = (status: number) => {
    const { error } = messagesErrorBody({ ...FAULT, status }, 'req_1')
    return typeof error === 'object' && error !== null && 'type' in error ? error.type : undefined
  }
  assert.deepEqual(
    [400, 401, 402, 403, 404, 405, 409, 413, 429, 500, 502, 503, 504].map((status) => [
      status,
      typeOf(status),
    ]),
    [
      [400, 'invalid_request_error'],
      [401, 'authentication_error'],
      [402, 'billing_error'],
      [403, 'permission_error'],
      [404, 'not_found_error'],
      [405, 'invalid_request_error'],
      [409, 'invalid_request_error'],
      [413, 'request_too_large'],
      [429, 'rate_limit_error'],
      [500, 'api_error'],
      [502, 'api_error'],
      [503, 'overloaded_error'],
      [504, 'timeout_error'],
    ],
  )
})

test('an answer that calls tools stops for them, also where its provider says only that it stopped', () => {
  const call: readonly StreamEvent[] = [
    { type: 'tool-call', choice: 0, index: 0, id: 'call_1', name: 'look' },
    { type: 'tool-arguments', choice: 0, index: 0, fragment: '{}' },
    { type: 'finish', choice: 0, reason: 'stop' },
  ]
  assert.equal(messageOf(call).stop_reason, 'tool_use')
  assert.match(streamOf(call), /"stop_reason":"tool_use"/)
})
