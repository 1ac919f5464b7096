import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import fc from 'fast-check'
import * as z from 'zod'
import { testAsk } from '../../../test/endpoints.ts'
import type { FinishReason, StreamEvent } from '../../stream-event.ts'
import type { ReplyClosing, ReplyInfo } from '../reply.ts'
import { createResponseStream, createWholeResponse } from './reply.ts'

const info: ReplyInfo = {
  id: 'req_01k9zzzzzzzzzzzzzzzzzzzzzz',
  createdSeconds: 1_763_000_000,
  served: { model: 'mesh/gpt-5.5', provider: 'openai', protocol: 'openai_responses' },
  ask: testAsk({ tools: [{ name: 'look' }], reasoning: { effort: 'low', summary: 'auto' } }),
  usageChunk: false,
  excludeReasoning: false,
}
const closing: ReplyClosing = {
  finishReason: 'stop',
  usage: {
    buckets: { ...EMPTY_BUCKETS, input: 10, cacheRead: 20, cacheWrite5m: 7, output: 5, reasoning: 6 },
    upstreamNano: 8_000_000n,
    marginNano: 775_000n,
  },
  routing: { requested: 'auto' },
}

const content = z.object({ type: z.string(), text: z.string().optional(), refusal: z.string().optional() })
const item = z.object({
  id: z.string(),
  type: z.string(),
  status: z.string().optional(),
  content: z.array(content).optional(),
  summary: z.array(z.object({ type: z.literal('summary_text'), text: z.string() })).optional(),
  encrypted_content: z.string().optional(),
  call_id: z.string().optional(),
  name: z.string().optional(),
  arguments: z.string().optional(),
})
const response = z.looseObject({
  id: z.literal(info.id),
  object: z.literal('response'),
  status: z.string(),
  store: z.literal(false),
  output: z.array(item),
  usage: z.looseObject({ total_tokens: z.number(), cost: z.number() }).nullable(),
  reasoning: z.unknown().optional(),
  tools: z.array(z.unknown()),
  routing: z.unknown().optional(),
  error: z.unknown().optional(),
  incomplete_details: z.unknown().optional(),
})
const event = z.looseObject({
  type: z.string(),
  sequence_number: z.number(),
  output_index: z.number().optional(),
  content_index: z.number().optional(),
  summary_index: z.number().optional(),
  item_id: z.string().optional(),
  item: item.optional(),
  part: content.optional(),
  delta: z.string().optional(),
  text: z.string().optional(),
  arguments: z.string().optional(),
  response: response.optional(),
})
type Event = z.infer<typeof event>

/** Reads server-sent events by the rules of the HTML standard, as far as two lines an event need them. */
function readStream(text: string): readonly Event[] {
  assert.ok(text === '' || text.endsWith('\n\n'))
  const events = text
    .split('\n\n')
    .slice(0, -1)
    .map((block) => {
      const [name = '', data = '', ...others] = block.split('\n')
      assert.deepEqual(others, [])
      const read = event.parse(JSON.parse(data.replace(/^data: /, '')))
      assert.equal(name, `event: ${read.type}`)
      return read
    })
  assert.deepEqual(
    events.map(({ sequence_number }) => sequence_number),
    events.map((_, index) => index),
  )
  return events
}

/** Puts the output together from the pieces alone, as a client does, and checks each end against its pieces. */
function accumulate(events: readonly Event[]): z.infer<typeof item>[] {
  const items: z.infer<typeof item>[] = []
  const told = new Map<string, string>()
  for (const each of events) {
    const { output_index: index = -1, content_index = '', summary_index = '', delta } = each
    const key = `${index} ${content_index} ${summary_index}`
    if (each.type === 'response.output_item.added') {
      assert.equal(index, items.length, 'items are counted without gaps')
      assert.ok(each.item)
      items.push(each.item)
    } else if (index >= 0 && each.item_id !== undefined) {
      assert.equal(items[index]?.id, each.item_id)
    }
    if (delta !== undefined) told.set(key, (told.get(key) ?? '') + delta)
    if (/text\.done$/.test(each.type)) assert.equal(each.text, told.get(key))
    if (each.type === 'response.function_call_arguments.done') {
      assert.equal(each.arguments, told.get(key) ?? '')
    }
    if (each.type === 'response.output_item.done') {
      assert.ok(each.item)
      const { content: parts = [], summary = [], arguments: args } = each.item
      for (const [at, part] of parts.entries()) {
        assert.equal(part.text ?? part.refusal, told.get(`${index} ${at} `))
      }
      for (const [at, part] of summary.entries()) assert.equal(part.text, told.get(`${index}  ${at}`))
      if (args !== undefined) assert.equal(args, told.get(`${index}  `) ?? '')
      items[index] = each.item
    }
  }
  return items
}

const texts = fc.string({ unit: 'binary', maxLength: 6 })
const index = fc.nat(3)
const choice = fc.constantFrom(0, 0, 0, 1)
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
    choice: fc.constant(0),
    reason: fc.constantFrom<FinishReason>('stop', 'length', 'tool_calls', 'content_filter'),
  }),
  fc.constant({ type: 'end' as const }),
)

test('a stream says what the whole answer says, in its pieces, in its ends and in its last event', () => {
  fc.assert(
    fc.property(fc.array(events, { maxLength: 60 }), fc.boolean(), (list, excludeReasoning) => {
      const asked = { ...info, excludeReasoning }
      const stream = createResponseStream(asked)
      const whole = createWholeResponse(asked)
      let text = ''
      for (const each of list) {
        text += stream.event(each)
        whole.event(each)
      }
      const read = readStream(text + stream.finish(closing))
      const body = response.parse(JSON.parse(whole.finish(closing)))
      const last = read.at(-1)
      assert.deepEqual(
        read.slice(0, 2).map(({ type }) => type),
        ['response.created', 'response.in_progress'],
      )
      assert.equal(last?.type, `response.${body.status}`)
      assert.deepEqual(last?.response, body)
      assert.deepEqual(accumulate(read), body.output)
      assert.equal(new Set(body.output.map(({ id }) => id)).size, body.output.length)
      const calls = body.output.filter(({ type }) => type === 'function_call')
      assert.equal(new Set(calls.map(({ call_id }) => call_id)).size, calls.length)
      for (const { call_id, name } of calls) {
        assert.match(call_id ?? '', /^[a-zA-Z0-9_.:-]{1,128}$/)
        assert.match(name ?? '', /^[a-zA-Z0-9_.-]{1,128}$/)
      }
      if (excludeReasoning) assert.ok(body.output.every(({ summary = [] }) => summary.length === 0))
    }),
    { numRuns: 300 },
  )
})

test('nothing leaves before the first content, and the end is held back', () => {
  const stream = createResponseStream(info)
  for (const each of [
    { type: 'text', choice: 0, text: '' },
    { type: 'usage', usage: { buckets: EMPTY_BUCKETS, flags: [] } },
    { type: 'finish', choice: 0, reason: 'stop' },
    { type: 'end' },
  ] as const) {
    assert.equal(stream.event(each), '')
  }
  const types = readStream(stream.finish(closing)).map(({ type }) => type)
  assert.deepEqual(types, ['response.created', 'response.in_progress', 'response.completed'])
})

test('the full sequence of an answer that thinks, speaks and calls', () => {
  const stream = createResponseStream(info)
  const said = (
    [
      { type: 'reasoning', choice: 0, text: 'Hm.' },
      { type: 'reasoning-end', choice: 0 },
      { type: 'reasoning', choice: 0, text: 'So.' },
      { type: 'reasoning-end', choice: 0, redacted: 'E' },
      { type: 'text', choice: 0, text: 'Hi' },
      { type: 'tool-call', choice: 0, index: 0, id: 'call_1', name: 'look' },
      { type: 'tool-call', choice: 0, index: 1, id: 'call_2', name: 'look' },
      { type: 'tool-arguments', choice: 0, index: 1, fragment: '{}' },
      { type: 'tool-arguments', choice: 0, index: 0, fragment: '{}' },
      { type: 'finish', choice: 0, reason: 'tool_calls' },
    ] as const
  ).map((each) => stream.event(each))
  const read = readStream(said.join('') + stream.finish(closing))
  assert.deepEqual(
    read.map(({ type, output_index }) => `${output_index ?? '-'} ${type.replace('response.', '')}`),
    [
      '- created',
      '- in_progress',
      '0 output_item.added',
      '0 reasoning_summary_part.added',
      '0 reasoning_summary_text.delta',
      '0 reasoning_summary_text.done',
      '0 reasoning_summary_part.done',
      '0 reasoning_summary_part.added',
      '0 reasoning_summary_text.delta',
      '0 reasoning_summary_text.done',
      '0 reasoning_summary_part.done',
      '0 output_item.done',
      '1 output_item.added',
      '1 content_part.added',
      '1 output_text.delta',
      '1 output_text.done',
      '1 content_part.done',
      '1 output_item.done',
      '2 output_item.added',
      '3 output_item.added',
      '3 function_call_arguments.delta',
      '2 function_call_arguments.delta',
      '2 function_call_arguments.done',
      '2 output_item.done',
      '3 function_call_arguments.done',
      '3 output_item.done',
      '- completed',
    ],
  )
  const { output, reasoning, tools, usage, routing } = read.at(-1)?.response ?? {}
  assert.deepEqual(output?.[0], {
    id: 'rs_01k9zzzzzzzzzzzzzzzzzzzzzz_0',
    type: 'reasoning',
    summary: [
      { type: 'summary_text', text: 'Hm.' },
      { type: 'summary_text', text: 'So.' },
    ],
    encrypted_content: 'E',
  })
  assert.deepEqual(reasoning, { effort: 'low', summary: 'auto' })
  assert.equal(tools?.length, 1)
  assert.deepEqual(routing, { requested: 'auto' })
  assert.deepEqual(usage, {
    input_tokens: 37,
    input_tokens_details: { cached_tokens: 20, cache_write_tokens: 7 },
    output_tokens: 11,
    output_tokens_details: { reasoning_tokens: 6 },
    total_tokens: 48,
    cost: 0.008775,
    cost_details: { upstream_cost: '0.008000000', margin: '0.000775000', total: '0.008775000' },
  })
})

test("a block of another maker goes out with its maker's name on its proof", () => {
  const reply = createWholeResponse({
    ...info,
    served: { model: 'mesh/claude-sonnet-4.5', provider: 'anthropic', protocol: 'anthropic_messages' },
  })
  reply.event({ type: 'reasoning', choice: 0, text: 'Hm.' })
  reply.event({ type: 'reasoning-end', choice: 0, signature: 'S=' })
  reply.event({ type: 'reasoning-end', choice: 0, redacted: 'R' })
  const { output } = response.parse(JSON.parse(reply.finish(closing)))
  assert.deepEqual(
    output.map(({ encrypted_content }) => encrypted_content),
    ['mesh:anthropic-claude-v1:signature:S=', 'mesh:anthropic-claude-v1:redacted:R'],
  )
})

test('a thought that proves nothing has a mark, without which some clients would not give it back', () => {
  const reply = createWholeResponse({
    ...info,
    served: { model: 'mesh/deepseek-v4-pro', provider: 'deepseek', protocol: 'openai_chat' },
  })
  reply.event({ type: 'reasoning', choice: 0, text: 'Hm.' })
  reply.event({ type: 'reasoning-end', choice: 0 })
  reply.event({ type: 'text', choice: 0, text: 'Hi' })
  const { output } = response.parse(JSON.parse(reply.finish(closing)))
  assert.equal(output[0]?.encrypted_content, 'mesh:unproven')
})

test('what is cut is incomplete, and so is its last item', () => {
  for (const [reason, said] of [
    ['length', 'max_output_tokens'],
    ['content_filter', 'content_filter'],
  ] as const) {
    const reply = createWholeResponse(info)
    reply.event({ type: 'text', choice: 0, text: 'Hi' })
    reply.event({ type: 'finish', choice: 0, reason })
    const { status, incomplete_details, output } = response.parse(JSON.parse(reply.finish(closing)))
    assert.equal(status, 'incomplete')
    assert.deepEqual(incomplete_details, { reason: said })
    assert.equal(output[0]?.status, 'incomplete')
  }
})

test('a failure is told with what there was, the receipt and the usage, and by an error event', () => {
  const fault = { status: 502, message: 'Try again.', type: 'server_error', code: 'provider_error' }
  const stream = createResponseStream(info)
  const begun = stream.event({ type: 'text', choice: 0, text: 'Hi' })
  const read = readStream(
    begun +
      stream.fail({ error: { ...fault, metadata: { a: 1 } }, receiptId: 'rcpt_1', usage: closing.usage }),
  )
  const last = read.at(-2)
  assert.equal(last?.type, 'response.failed')
  assert.equal(last?.response?.status, 'failed')
  assert.equal(last?.response?.usage?.total_tokens, 48)
  assert.equal(last?.response?.output[0]?.status, 'incomplete')
  assert.deepEqual(last?.response?.error, {
    message: 'Try again.',
    type: 'server_error',
    code: 'provider_error',
    param: null,
    metadata: { a: 1, receipt_id: 'rcpt_1' },
  })
  const { served: _, ask: __, ...unserved } = info
  const [first] = readStream(createResponseStream(unserved).fail({ error: fault, receiptId: 'rcpt_1' }))
  assert.equal(first?.response?.model, null)
})

test('characters that some readers take for line breaks are escaped', () => {
  const rendered = createResponseStream(info).event({
    type: 'text',
    choice: 0,
    text: 'a\u2028b\u2029c\u0085d\r\ne',
  })
  assert.doesNotMatch(rendered, /[\u0085\u2028\u2029\r]/)
})
