import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import fc from 'fast-check'
import * as z from 'zod'
import type { FinishReason, StreamEvent } from '../../stream-event.ts'
import type { ReplyClosing, ReplyInfo } from '../reply.ts'
import { renderUsage } from './reply.ts'
import { createJsonReply } from './reply-json.ts'
import { createStreamReply } from './reply-stream.ts'

const info: ReplyInfo = {
  id: 'req_01k9zzzzzzzzzzzzzzzzzzzzzz',
  createdSeconds: 1_763_000_000,
  served: { model: 'mesh/claude-sonnet-4.5', provider: 'anthropic', protocol: 'anthropic_messages' },
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

const detail = z.object({
  type: z.string(),
  text: z.string().optional(),
  signature: z.string().optional(),
  data: z.string().optional(),
  format: z.string(),
  index: z.number(),
})
const toolCall = z.object({
  index: z.number().optional(),
  id: z.string().optional(),
  type: z.literal('function').optional(),
  function: z.object({ name: z.string().optional(), arguments: z.string().optional() }),
})
const message = z.object({
  role: z.string().optional(),
  content: z.string().nullish(),
  refusal: z.string().nullish(),
  reasoning: z.string().optional(),
  reasoning_details: z.array(detail).optional(),
  tool_calls: z.array(toolCall).optional(),
})
const logprobs = z.object({ content: z.array(z.unknown()) }).nullable()
const usage = z.object({ prompt_tokens: z.number(), cost: z.number() })
const chunk = z.object({
  id: z.literal(info.id),
  object: z.literal('chat.completion.chunk'),
  created: z.literal(info.createdSeconds),
  model: z.string().nullable(),
  provider: z.string().nullable(),
  system_fingerprint: z.null(),
  choices: z.array(
    z.object({ index: z.number(), delta: message, logprobs, finish_reason: z.string().nullable() }),
  ),
  usage: usage.nullish(),
  routing: z.object({ requested: z.string() }).optional(),
  error: z.record(z.string(), z.unknown()).optional(),
})
const completion = z.object({
  id: z.literal(info.id),
  object: z.literal('chat.completion'),
  choices: z.array(z.object({ index: z.number(), message, logprobs, finish_reason: z.string() })),
  usage,
  routing: z.object({ requested: z.string() }),
})
type Chunk = z.infer<typeof chunk>

/** An SSE reader of its own, by the rules of the HTML standard as far as `data` lines need them. */
function readStream(text: string): { readonly chunks: readonly Chunk[]; readonly done: boolean } {
  const chunks: Chunk[] = []
  let done = false
  assert.ok(text === '' || text.endsWith('\n\n'))
  for (const block of text.split('\n\n').slice(0, -1)) {
    assert.ok(!done, 'nothing follows [DONE]')
    const lines = block.split('\n')
    assert.equal(lines.length, 1, 'a chunk is one line')
    const data = lines[0]?.replace(/^data: /, '') ?? ''
    if (data === '[DONE]') done = true
    else chunks.push(chunk.parse(JSON.parse(data)))
  }
  return { chunks, done }
}

interface Answer {
  text: string
  refusal: string
  reasoning: string
  details: { type: string; text: string; rest: string }[]
  tools: { id: string | undefined; name: string | undefined; arguments: string }[]
  logprobs: unknown[]
  finishReason: string | null
}

const blank = (): Answer => ({
  text: '',
  refusal: '',
  reasoning: '',
  details: [],
  tools: [],
  logprobs: [],
  finishReason: null,
})

/** Puts an answer together from chunks as a client does: texts end to end, tool calls and details by index. */
function accumulate(chunks: readonly Chunk[]): Map<number, Answer> {
  const answers = new Map<number, Answer>()
  for (const { index, delta, finish_reason, logprobs } of chunks.flatMap((each) => each.choices)) {
    const answer = answers.get(index) ?? blank()
    if (!answers.has(index)) assert.equal(delta.role, 'assistant', 'the first chunk of a choice has the role')
    answers.set(index, answer)
    assert.equal(answer.finishReason, null, 'nothing follows the finish chunk')
    add(answer, delta)
    answer.logprobs.push(...(logprobs?.content ?? []))
    answer.finishReason = finish_reason
  }
  return answers
}

function add(answer: Answer, part: z.infer<typeof message>): void {
  answer.text += part.content ?? ''
  answer.refusal += part.refusal ?? ''
  answer.reasoning += part.reasoning ?? ''
  for (const { type, text = '', signature, data, format, index } of part.reasoning_details ?? []) {
    const key = `${type} ${index} ${format}`
    const known = answer.details.find((each) => each.type === key)
    if (known) {
      known.text += text
      known.rest += signature ?? data ?? ''
    } else answer.details.push({ type: key, text, rest: signature ?? data ?? '' })
  }
  for (const [position, call] of (part.tool_calls ?? []).entries()) {
    const index = call.index ?? position
    const known = answer.tools[index]
    if (known) known.arguments += call.function.arguments ?? ''
    else {
      assert.equal(index, answer.tools.length, 'tool calls are counted without gaps')
      answer.tools.push({ id: call.id, name: call.function.name, arguments: call.function.arguments ?? '' })
    }
  }
}

const texts = fc.string({ unit: 'binary', maxLength: 6 })
const choice = fc.nat(2)
const index = fc.nat(3)
const events: fc.Arbitrary<StreamEvent> = fc.oneof(
  fc.record({ type: fc.constant('text' as const), choice, text: texts }),
  fc.record({
    type: fc.constant('text' as const),
    choice,
    text: texts,
    logprobs: fc.constant({ content: [{ token: 'a', logprob: -1 }], refusal: null }),
  }),
  fc.record({ type: fc.constant('refusal' as const), choice, text: texts }),
  fc.record({ type: fc.constant('reasoning' as const), choice, text: texts }),
  fc.record(
    { type: fc.constant('reasoning-end' as const), choice, signature: texts, redacted: texts },
    { requiredKeys: ['type', 'choice'] },
  ),
  fc.record({
    type: fc.constant('tool-call' as const),
    choice,
    index,
    id: fc.oneof(fc.constantFrom('call_1', 'toolu_2', 'bad id', '', 'x'.repeat(200)), texts),
    name: fc.oneof(fc.constantFrom('look', 'bad "name"', ''), texts),
  }),
  fc.record({ type: fc.constant('tool-arguments' as const), choice, index, fragment: texts }),
  fc.record({
    type: fc.constant('finish' as const),
    choice,
    reason: fc.constantFrom<FinishReason>('stop', 'length', 'tool_calls', 'content_filter'),
  }),
  fc.constant({ type: 'end' as const }),
)

test('a stream says what the whole answer says', () => {
  fc.assert(
    fc.property(
      fc.array(events, { maxLength: 60 }),
      fc.boolean(),
      fc.boolean(),
      (list, excludeReasoning, usageChunk) => {
        const asked = { ...info, excludeReasoning, usageChunk }
        const stream = createStreamReply(asked)
        const whole = createJsonReply(asked)
        let text = ''
        for (const event of list) {
          text += stream.event(event)
          whole.event(event)
        }
        const { chunks, done } = readStream(text + stream.finish(closing))
        assert.ok(done)
        const body = completion.parse(JSON.parse(whole.finish(closing)))
        const streamed = accumulate(chunks)
        assert.deepEqual(
          [...streamed.keys()].sort(),
          body.choices.map((each) => each.index),
        )
        for (const { index, message, logprobs, finish_reason } of body.choices) {
          const answer = { ...blank(), finishReason: finish_reason, logprobs: logprobs?.content ?? [] }
          add(answer, message)
          const { details, ...rest } = streamed.get(index) ?? blank()
          const { details: wholeDetails, ...wholeRest } = answer
          assert.deepEqual(rest, wholeRest)
          assert.deepEqual(sorted(details), sorted(wholeDetails))
          for (const { id, name } of rest.tools) {
            assert.match(id ?? '', /^[a-zA-Z0-9_.:-]{1,128}$/)
            assert.match(name ?? '', /^[a-zA-Z0-9_.-]{1,128}$/)
          }
          assert.equal(new Set(rest.tools.map((call) => call.id)).size, rest.tools.length)
          if (excludeReasoning) assert.equal(rest.reasoning + details.length, '0')
        }
        assert.deepEqual(chunks.filter((each) => each.usage).length, 1)
        const last = chunks.at(-1)
        assert.equal(last?.choices.length === 0, usageChunk)
        assert.equal(last?.usage?.cost, body.usage.cost)
        assert.equal(last?.routing?.requested, 'auto')
      },
    ),
    { numRuns: 300 },
  )
})

function sorted(details: Answer['details']): Answer['details'] {
  return [...details].sort((left, right) => (left.type < right.type ? -1 : 1))
}

test('nothing leaves before the first content, and the finish is held back', () => {
  const reply = createStreamReply(info)
  for (const event of [
    { type: 'text', choice: 0, text: '' },
    { type: 'usage', usage: { buckets: EMPTY_BUCKETS, flags: [] } },
    { type: 'finish', choice: 0, reason: 'stop' },
    { type: 'end' },
  ] as const) {
    assert.equal(reply.event(event), '')
  }
  const { chunks, done } = readStream(reply.finish(closing))
  assert.ok(done)
  assert.deepEqual(
    chunks.map((each) => each.choices.map(({ delta, finish_reason }) => [delta.role, finish_reason])),
    [[['assistant', null]], [[undefined, 'stop']]],
  )
})

test('usage rides on the finish chunk, or comes in its own chunk where it is asked for', () => {
  const render = (usageChunk: boolean): readonly Chunk[] => {
    const reply = createStreamReply({ ...info, usageChunk })
    return readStream(reply.event({ type: 'text', choice: 0, text: 'Hi' }) + reply.finish(closing)).chunks
  }
  assert.deepEqual(
    render(false).map((each) => [each.choices.length, each.usage?.prompt_tokens]),
    [
      [1, undefined],
      [1, undefined],
      [1, 37],
    ],
  )
  assert.deepEqual(
    render(true).map((each) => [each.choices.length, each.usage === null, each.usage?.prompt_tokens]),
    [
      [1, true, undefined],
      [1, true, undefined],
      [1, true, undefined],
      [0, false, 37],
    ],
  )
})

test('usage counts all input and all output, and costs add up', () => {
  const text = renderUsage(closing.usage)
  assert.deepEqual(JSON.parse(text), {
    prompt_tokens: 37,
    completion_tokens: 11,
    total_tokens: 48,
    prompt_tokens_details: { cached_tokens: 20, cache_write_tokens: 7, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 6, audio_tokens: 0 },
    cost: 0.008775,
    cost_details: { upstream_cost: '0.008000000', margin: '0.000775000', total: '0.008775000' },
  })
  assert.match(text, /"cost":0\.008775000,/)
})

const FAULT = { status: 502, message: 'Try again.', type: 'server_error', code: 'provider_error' }

test('a failure is an error chunk with receipt and usage, and no [DONE]', () => {
  const reply = createStreamReply(info)
  const begun = reply.event({ type: 'text', choice: 0, text: 'Hi' })
  const { chunks, done } = readStream(
    begun +
      reply.fail({
        error: { ...FAULT, metadata: { a: 1 } },
        receiptId: 'rcpt_1',
        usage: closing.usage,
      }),
  )
  assert.ok(!done)
  const last = chunks.at(-1)
  assert.equal(last?.choices[0]?.finish_reason, 'error')
  assert.deepEqual(last?.error, {
    message: 'Try again.',
    type: 'server_error',
    code: 'provider_error',
    param: null,
    metadata: { a: 1, receipt_id: 'rcpt_1', usage: JSON.parse(renderUsage(closing.usage)) },
  })
})

test('a call that fails before anybody answers has an error chunk too', () => {
  const { served: _, ...unserved } = info
  const { chunks } = readStream(createStreamReply(unserved).fail({ error: FAULT, receiptId: 'rcpt_1' }))
  assert.equal(chunks[0]?.model, null)
  assert.deepEqual(chunks[0]?.error?.metadata, { receipt_id: 'rcpt_1' })
})

test('characters that some readers take for line breaks are escaped', () => {
  const text = 'a\u2028b\u2029c\u0085d\r\ne'
  const rendered = createStreamReply(info).event({ type: 'text', choice: 0, text })
  assert.doesNotMatch(rendered, /[\u0085\u2028\u2029\r]/)
  assert.equal(readStream(rendered).chunks.at(-1)?.choices[0]?.delta.content, text)
})
