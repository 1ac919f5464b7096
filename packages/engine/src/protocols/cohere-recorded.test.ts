import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inputTokens, outputTokens } from '@mesh/catalog/token-buckets.ts'
import { decodeInPieces, gather } from '../../test/decode-in-pieces.ts'
import { testAsk, testEndpoint } from '../../test/endpoints.ts'
import { type RecordedExchange, recordedExchanges } from '../../test/recorded-exchanges.ts'
import type { Ask, Json, JsonObject, Message, TextPart, Tool } from '../ask.ts'
import { DEFAULT_ANSWER_BOUNDS } from '../protocol.ts'
import { cohereV2 } from './cohere.ts'

/*
 * What Cohere was really sent and what it really answered. The expectations are put together here from the records,
 * with none of the code under test.
 */

const ABSENT = 'SKIPPED: the recorded exchanges are not beside this project'

interface RecordedCall {
  readonly id: string
  readonly function: { readonly name: string; readonly arguments: string }
}

interface RecordedContent {
  readonly type: string
  readonly text?: string
  readonly thinking?: string
}

interface RecordedMessage {
  readonly role: string
  readonly content?: string | readonly RecordedContent[]
  readonly tool_calls?: readonly RecordedCall[]
  readonly tool_plan?: string
  readonly tool_call_id?: string
}

interface RecordedAnswer {
  readonly finish_reason: string
  readonly message: RecordedMessage
  readonly usage: { readonly billed_units: { readonly input_tokens: number; readonly output_tokens: number } }
}

interface RecordedEvent {
  readonly type: string
  readonly delta?: {
    readonly finish_reason?: string
    readonly usage?: RecordedAnswer['usage']
    readonly message?: {
      readonly content?: RecordedContent
      readonly tool_plan?: string
      readonly tool_calls?: RecordedCall
    }
  }
}

const FINISHES: Readonly<Record<string, string>> = {
  COMPLETE: 'stop',
  STOP_SEQUENCE: 'stop',
  MAX_TOKENS: 'length',
  TOOL_CALL: 'tool_calls',
}

/** A stream's events, put together as the answer in one piece that they tell. */
function assembled(body: string): RecordedAnswer {
  const calls: { id: string; function: { name: string; arguments: string } }[] = []
  let [text, thinking, plan, finish] = ['', '', '', '']
  let usage: RecordedAnswer['usage'] = { billed_units: { input_tokens: 0, output_tokens: 0 } }
  for (const line of body.split('\n').filter((each) => each.startsWith('data: {'))) {
    const { type, delta }: RecordedEvent = JSON.parse(line.slice(6))
    text += delta?.message?.content?.text ?? ''
    thinking += delta?.message?.content?.thinking ?? ''
    plan += delta?.message?.tool_plan ?? ''
    const call = delta?.message?.tool_calls
    if (type === 'tool-call-start' && call) calls.push({ id: call.id, function: { ...call.function } })
    const open = calls.at(-1)
    if (type === 'tool-call-delta' && call && open) open.function.arguments += call.function.arguments
    finish = delta?.finish_reason ?? finish
    usage = delta?.usage ?? usage
  }
  const content = [
    { type: 'thinking', thinking },
    { type: 'text', text },
  ]
  return {
    finish_reason: finish,
    message: { role: 'assistant', content, tool_calls: calls, tool_plan: plan },
    usage,
  }
}

function compareWithRecord(exchange: RecordedExchange): void {
  const record: RecordedAnswer = exchange.body.startsWith('{')
    ? JSON.parse(exchange.body)
    : assembled(exchange.body)
  const content = Array.isArray(record.message.content) ? record.message.content : []
  const joined = (name: 'text' | 'thinking') => content.map((part) => part[name] ?? '').join('')
  const steps = exchange.body.length < 20_000 ? [1, 7, 61, 1021] : [61, 1021]
  for (const step of [exchange.body.length, ...steps]) {
    const cuts = Array.from({ length: Math.floor(exchange.body.length / step) }, (_, at) => at * step)
    const answer = gather(decodeInPieces(cohereV2.decoder(DEFAULT_ANSWER_BOUNDS), exchange.body, cuts))
    assert.equal(answer.failure, undefined)
    assert.equal(answer.ended, true)
    const [choice] = answer.choices
    assert.equal(choice?.text, joined('text'))
    assert.equal(choice?.reasoning, (record.message.tool_plan ?? '') + joined('thinking'))
    assert.equal(choice?.finish, FINISHES[record.finish_reason])
    assert.deepEqual(
      choice?.calls,
      (record.message.tool_calls ?? []).map((call) => ({ id: call.id, ...call.function })),
    )
    assert.ok(answer.usage)
    assert.equal(inputTokens(answer.usage.buckets), record.usage.billed_units.input_tokens)
    assert.equal(outputTokens(answer.usage.buckets), record.usage.billed_units.output_tokens)
    assert.deepEqual(answer.usage.flags, [])
  }
}

/** The ask that a recorded request is the encoding of, and what of the request no ask can say. */
function askOf(body: JsonObject): { readonly ask: Ask; readonly uncovered: readonly string[] } {
  const { model: _, messages, tools, stream, tool_choice, ...rest } = body
  const wireTools = (tools ?? []) as unknown as readonly { readonly function: Tool }[]
  const choice = tool_choice === 'REQUIRED' ? 'required' : tool_choice === 'NONE' ? 'none' : undefined
  const names: readonly (keyof typeof rest)[] = Object.keys(rest)
  const known: Readonly<Record<string, (value: Json) => Partial<Ask>>> = {
    max_tokens: (value) => ({ maxOutputTokens: Number(value) }),
    temperature: (value) => ({ temperature: Number(value) }),
    p: (value) => ({ topP: Number(value) }),
    k: (value) => ({ topK: Number(value) }),
    stop_sequences: (value) => ({ stop: value as readonly string[] }),
    seed: (value) => ({ extras: { seed: value } }),
  }
  const parameters = names.map((name) => known[name]?.(rest[name] ?? null) ?? {})
  return {
    ask: testAsk({
      messages: (messages as unknown as readonly RecordedMessage[]).map(messageOf),
      tools: wireTools.map((tool) => tool.function),
      ...(choice === undefined ? {} : { toolChoice: choice }),
      stream: stream === true,
      ...Object.assign({}, ...parameters),
    }),
    uncovered: names.filter((name) => !Object.hasOwn(known, name)).map(String),
  }
}

function messageOf(message: RecordedMessage): Message {
  const content = message.content ?? []
  const blocks = typeof content === 'string' ? [{ type: 'text', text: content }] : content
  const parts: readonly TextPart[] = blocks.flatMap(({ text }) =>
    text === undefined ? [] : [{ type: 'text', text }],
  )
  switch (message.role) {
    case 'system':
      return { role: 'system', parts }
    case 'user':
      return { role: 'user', parts }
    case 'tool':
      return { role: 'tool', toolCallId: message.tool_call_id ?? '', parts }
    default: {
      const thoughts = [
        message.tool_plan,
        ...blocks.map((block) => ('thinking' in block ? block.thinking : undefined)),
      ]
      return {
        role: 'assistant',
        parts,
        toolCalls: (message.tool_calls ?? []).map((call) => ({ id: call.id, ...call.function })),
        reasoning: thoughts.flatMap((text) => (text === undefined ? [] : [{ text }])),
      }
    }
  }
}

/** A model's own way to say it thinks: the only difference between endpoints that a recorded request shows. */
function endpointOf(model: Json | undefined) {
  const thinks = String(model).includes('reasoning')
  const { supportedParameters, ...endpoint } = testEndpoint({ upstreamModel: String(model) })
  return {
    ...endpoint,
    supportedParameters: supportedParameters.filter((name) => thinks || name !== 'reasoning'),
  }
}

test('every recorded answer of Cohere’s chat decodes to what the record holds', (t) => {
  const exchanges = recordedExchanges('/v2/chat')?.filter(({ status }) => status < 300)
  if (!exchanges) return t.skip(ABSENT)
  for (const exchange of exchanges) compareWithRecord(exchange)
  t.diagnostic(`cohere: decoded ${exchanges.length} of ${exchanges.length} chat answers`)
  assert.ok(exchanges.length > 0)
})

test('every recorded request to Cohere’s chat is what its ask encodes to', (t) => {
  const exchanges = recordedExchanges('/v2/chat')
  if (!exchanges) return t.skip(ABSENT)
  let encoded = 0
  for (const { file, requestBody } of exchanges) {
    const { ask, uncovered } = askOf(requestBody)
    if (uncovered.length > 0) {
      t.diagnostic(`${file}: not covered, for no ask says ${uncovered.join(', ')}`)
      continue
    }
    const request = cohereV2.encode(ask, endpointOf(requestBody.model), { stream: ask.stream })
    assert.deepEqual(JSON.parse(request.body), requestBody, file)
    assert.deepEqual(request.droppedParameters, [], file)
    encoded += 1
  }
  t.diagnostic(`cohere: re-encoded ${encoded} of ${exchanges.length} chat requests`)
  assert.ok(encoded > 0)
})
