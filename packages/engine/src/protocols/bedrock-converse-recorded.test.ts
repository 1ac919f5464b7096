import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ReasoningOption } from '@mesh/catalog/catalog.ts'
import fc from 'fast-check'
import { decodeInPieces, gather } from '../../test/decode-in-pieces.ts'
import { testAsk, testEndpoint } from '../../test/endpoints.ts'
import { type RecordedConverse, recordedConverse, recordedMessages } from '../../test/recorded-converse.ts'
import type { Ask, CacheMark, InputPart, Message, ReasoningRequest, TextPart, Tool } from '../ask.ts'
import { DEFAULT_ANSWER_BOUNDS } from '../protocol.ts'
import { bedrockConverse } from './bedrock-converse.ts'

/*
 * What Bedrock answered, decoded and compared with what the record holds; and what it was asked, read back into an ask
 * and encoded again. Both are put together here from the records themselves, with none of the code under test.
 */

const ABSENT = 'SKIPPED: the recorded exchanges are not beside this project'

// biome-ignore lint/suspicious/noExplicitAny: what a record holds is what a test asserts
type Recorded = any

interface Expected {
  text: string
  reasoning: string
  signatures: string[]
  redacted: string[]
  calls: { id: string; name: string; input: unknown }[]
  stopReason: string
  usage: Recorded
}

/** The blocks of an answer, in the words of a whole one, whether it was streamed or not. */
function recordedAnswer(exchange: RecordedConverse): {
  content: Recorded[]
  stopReason: string
  usage: Recorded
} {
  if (!exchange.isStream) {
    const body = JSON.parse(new TextDecoder().decode(exchange.bytes))
    return { content: body.output.message.content, stopReason: body.stopReason, usage: body.usage }
  }
  const blocks: Recorded[] = []
  let stopReason = ''
  let usage: Recorded
  for (const { type, body } of recordedMessages(exchange.bytes)) {
    if (type === 'messageStop') stopReason = body.stopReason
    if (type === 'metadata') usage = body.usage
    if (type === 'contentBlockStart') {
      blocks[body.contentBlockIndex] = body.start.toolUse
        ? { toolUse: { ...body.start.toolUse, input: '' } }
        : body.start
    }
    if (type !== 'contentBlockDelta') continue
    blocks[body.contentBlockIndex] ??= {}
    const block = blocks[body.contentBlockIndex]
    const { text, toolUse, reasoningContent } = body.delta
    if (text !== undefined) block.text = (block.text ?? '') + text
    if (toolUse) block.toolUse.input += toolUse.input
    if (reasoningContent?.text !== undefined) {
      block.reasoningContent ??= { reasoningText: { text: '' } }
      block.reasoningContent.reasoningText.text += reasoningContent.text
    }
    if (reasoningContent?.signature)
      block.reasoningContent.reasoningText.signature = reasoningContent.signature
    if (reasoningContent?.redactedContent) block.reasoningContent = reasoningContent
  }
  for (const block of blocks) {
    if (block.toolUse) block.toolUse.input = block.toolUse.input === '' ? {} : JSON.parse(block.toolUse.input)
  }
  return { content: blocks, stopReason, usage }
}

function expectedOf(exchange: RecordedConverse): Expected {
  const { content, stopReason, usage } = recordedAnswer(exchange)
  const expected: Expected = {
    text: '',
    reasoning: '',
    signatures: [],
    redacted: [],
    calls: [],
    stopReason,
    usage,
  }
  for (const { text, toolUse, reasoningContent } of content) {
    expected.text += text ?? ''
    if (toolUse && toolUse.type !== 'server_tool_use') {
      expected.calls.push({ id: toolUse.toolUseId, name: toolUse.name, input: toolUse.input })
    }
    expected.reasoning += reasoningContent?.reasoningText?.text ?? ''
    if (reasoningContent?.reasoningText?.signature) {
      expected.signatures.push(reasoningContent.reasoningText.signature)
    }
    // A blob in JSON is base64; the bytes are the text that Anthropic's own API shows.
    if (reasoningContent?.redactedContent) {
      expected.redacted.push(Buffer.from(reasoningContent.redactedContent, 'base64').toString('latin1'))
    }
  }
  return expected
}

const FINISH: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  tool_use: 'tool_calls',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  guardrail_intervened: 'content_filter',
  content_filtered: 'content_filter',
}

function decode(bytes: Uint8Array, cuts: readonly number[] = []) {
  return gather(decodeInPieces(bedrockConverse.decoder(DEFAULT_ANSWER_BOUNDS), bytes, cuts))
}

function compareAnswer(exchange: RecordedConverse): void {
  const expected = expectedOf(exchange)
  const answer = decode(exchange.bytes)
  assert.equal(answer.failure, undefined)
  assert.equal(answer.ended, true)
  const [choice] = answer.choices
  assert.ok(choice && answer.choices.length === 1 && answer.usage)
  assert.equal(choice.text, expected.text)
  assert.equal(choice.reasoning, expected.reasoning)
  assert.deepEqual(choice.signatures, expected.signatures)
  assert.deepEqual(choice.redacted, expected.redacted)
  assert.equal(choice.finish, FINISH[expected.stopReason])
  assert.deepEqual(
    choice.calls.map(({ id, name, arguments: text }) => ({ id, name, input: JSON.parse(text) })),
    expected.calls,
  )
  const { buckets, flags } = answer.usage
  const { usage } = expected
  assert.deepEqual(flags, [])
  assert.equal(buckets.input, usage.inputTokens)
  assert.equal(buckets.cacheRead, usage.cacheReadInputTokens ?? 0)
  assert.equal(buckets.cacheWrite5m, usage.cacheWriteInputTokens ?? 0)
  assert.equal(buckets.cacheWrite1h, 0)
  assert.equal(buckets.output, usage.outputTokens)
  assert.equal(
    Object.values(buckets).reduce((sum, tokens) => sum + tokens, 0),
    usage.totalTokens,
  )
}

test('every recorded answer of Converse decodes to what the record holds, however its bytes are split', (t) => {
  const exchanges = recordedConverse()
  if (!exchanges) return t.skip(ABSENT)
  const wrong: string[] = []
  for (const format of ['document', 'event stream']) {
    const answers: readonly RecordedConverse[] = exchanges.filter(
      ({ status, isStream }) => status < 300 && isStream === (format === 'event stream'),
    )
    let right = 0
    for (const exchange of answers) {
      try {
        compareAnswer(exchange)
        const whole = decode(exchange.bytes)
        const everyByte = Array.from(exchange.bytes, (_, at) => at)
        assert.deepEqual(decode(exchange.bytes, everyByte), whole)
        fc.assert(
          fc.property(fc.array(fc.nat(exchange.bytes.length), { maxLength: 8 }), (cuts) =>
            assert.deepEqual(decode(exchange.bytes, cuts), whole),
          ),
          { numRuns: 20 },
        )
        right += 1
      } catch (error) {
        wrong.push(`${exchange.file}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    t.diagnostic(`bedrock, ${format}: decoded ${right} of ${answers.length} answers`)
  }
  assert.deepEqual(wrong, [])
})

test('no part of a recorded event stream is an answer: it ends with metadata, or at least with its stop', (t) => {
  const exchanges = recordedConverse()
  if (!exchanges) return t.skip(ABSENT)
  const streams = exchanges.filter(({ status, isStream }) => status < 300 && isStream)
  for (const { bytes, file } of streams) {
    const stream = Buffer.from(bytes)
    const starts: number[] = []
    for (let at = 0; at < stream.length; at += stream.readUInt32BE(at)) starts.push(at)
    const stopAt = starts.at(-2) ?? 0
    for (const at of [...starts.slice(1), stopAt + 7, stream.length - 1]) {
      const answer = decode(bytes.subarray(0, at))
      const isStopped = at >= (starts.at(-1) ?? 0)
      assert.equal(answer.ended, isStopped, `${file} at ${at}`)
      assert.equal(answer.usage, undefined)
    }
  }
})

test('every recorded refusal of Converse is put into its class', (t) => {
  const exchanges = recordedConverse()
  if (!exchanges) return t.skip(ABSENT)
  const reasons = exchanges
    .filter(({ status }) => status >= 300)
    .map(({ status, headers, bytes }) => {
      const { outcome, reason } = bedrockConverse.classify(status, headers, new TextDecoder().decode(bytes))
      return `${outcome} ${reason}`
    })
  assert.deepEqual(reasons, ['refused_unbilled model_not_found', 'request_fault invalid_request'])
})

/** Why a recorded request has no counterpart in OpenAI's shape. */
function uncovered(request: Recorded): string | undefined {
  const text = JSON.stringify(request)
  if (text.includes('"systemTool"')) return 'a tool that AWS runs'
  if (text.includes('"s3Location"')) return 'a file in S3'
  if (request.guardrailConfig) return 'a guardrail'
  if (request.performanceConfig) return 'a latency tier'
  return undefined
}

function askOf(request: Recorded): { readonly ask: Ask; readonly options: readonly ReasoningOption[] } {
  const { inferenceConfig, toolConfig, outputConfig, additionalModelRequestFields: own = {} } = request
  const { reasoning, options } = reasoningOf(own)
  const schema = outputConfig?.textFormat.structure.jsonSchema
  const topK = own.top_k ?? own.inferenceConfig?.topK
  const ask = testAsk({
    messages: [
      ...(request.system.length === 0
        ? []
        : [{ role: 'system' as const, parts: partsOf(request.system) as TextPart[] }]),
      ...request.messages.flatMap(messagesOf),
    ],
    tools: toolsOf(toolConfig?.tools ?? []),
    ...(toolConfig?.toolChoice ? { toolChoice: choiceOf(toolConfig.toolChoice) } : {}),
    ...(inferenceConfig.temperature === undefined ? {} : { temperature: inferenceConfig.temperature }),
    ...(inferenceConfig.topP === undefined ? {} : { topP: inferenceConfig.topP }),
    ...(inferenceConfig.maxTokens === undefined ? {} : { maxOutputTokens: inferenceConfig.maxTokens }),
    ...(topK === undefined ? {} : { topK }),
    ...(reasoning ? { reasoning } : {}),
    ...(schema
      ? {
          responseFormat: {
            type: 'json_schema',
            name: schema.name,
            ...(schema.description === undefined ? {} : { description: schema.description }),
            schema: JSON.parse(schema.schema),
          },
        }
      : {}),
  })
  return { ask, options }
}

function reasoningOf(own: Recorded): {
  reasoning?: ReasoningRequest
  options: readonly ReasoningOption[]
} {
  const efforts: ReasoningOption = { type: 'effort', values: ['low', 'medium', 'high'] }
  if (own.thinking?.type === 'enabled') {
    return {
      reasoning: { maxTokens: own.thinking.budget_tokens },
      options: [{ type: 'budget_tokens', min: 1024 }],
    }
  }
  const effort = own.output_config?.effort ?? own.reasoning_effort ?? own.reasoning_config
  if (own.thinking?.type === 'adaptive')
    return { reasoning: { effort: effort ?? 'high' }, options: [efforts] }
  return effort ? { reasoning: { effort }, options: [efforts] } : { options: [] }
}

function choiceOf(choice: Recorded): NonNullable<Ask['toolChoice']> {
  if (choice.auto) return 'auto'
  return choice.any ? 'required' : { name: choice.tool.name }
}

/** Cache points become marks on what stands before them. */
function marked<Part extends { cache?: CacheMark }>(
  blocks: Recorded[],
  partOf: (block: Recorded) => Part,
): Part[] {
  const parts: Part[] = []
  for (const block of blocks) {
    const last = parts.at(-1)
    if (block.cachePoint && last) last.cache = { ttl: block.cachePoint.ttl ?? '5m' }
    else parts.push(partOf(block))
  }
  return parts
}

function toolsOf(tools: Recorded[]): Tool[] {
  return marked<Tool & { cache?: CacheMark }>(tools, ({ toolSpec }) => ({
    name: toolSpec.name,
    ...(toolSpec.description === undefined ? {} : { description: toolSpec.description }),
    parameters: toolSpec.inputSchema.json,
    ...(toolSpec.strict === undefined ? {} : { strict: toolSpec.strict }),
  }))
}

const DOCUMENT_TYPES: Readonly<Record<string, string>> = { pdf: 'application/pdf', txt: 'text/plain' }

function partsOf(blocks: Recorded[]): InputPart[] {
  return marked<InputPart & { cache?: CacheMark }>(blocks, ({ text, image, document }) => {
    if (text !== undefined) return { type: 'text', text }
    const { format, source, name } = image ?? document
    const mediaType = image ? `image/${format}` : (DOCUMENT_TYPES[format] ?? '')
    const bytes = { kind: 'base64' as const, mediaType, base64: source.bytes }
    return image ? { type: 'image', source: bytes } : { type: 'file', source: bytes, filename: name }
  })
}

function messagesOf({ role, content }: Recorded): Message[] {
  if (role === 'assistant') {
    return [
      {
        role,
        parts: partsOf(content.filter((block: Recorded) => block.text !== undefined)) as TextPart[],
        toolCalls: content.flatMap(({ toolUse }: Recorded) =>
          toolUse
            ? [{ id: toolUse.toolUseId, name: toolUse.name, arguments: JSON.stringify(toolUse.input) }]
            : [],
        ),
        reasoning: content.flatMap(({ reasoningContent }: Recorded) => {
          if (!reasoningContent) return []
          const { reasoningText, redactedContent } = reasoningContent
          return reasoningText
            ? [{ text: reasoningText.text, signature: reasoningText.signature }]
            : [{ text: '', redacted: Buffer.from(redactedContent, 'base64').toString('latin1') }]
        }),
      },
    ]
  }
  const results = content.filter((block: Recorded) => block.toolResult)
  const rest = content.filter((block: Recorded) => !block.toolResult)
  return [
    ...results.map(({ toolResult }: Recorded) => ({
      role: 'tool' as const,
      toolCallId: toolResult.toolUseId,
      parts: partsOf(toolResult.content),
    })),
    ...(rest.length === 0 ? [] : [{ role: 'user' as const, parts: partsOf(rest) }]),
  ]
}

/**
 * The documented differences, which say the same to Bedrock: empty `system` and `inferenceConfig` are left out; a schema
 * is written without spaces; thinking by effort says `display`, and its effort also where it is the default.
 */
function normalised(body: Recorded): Recorded {
  const copy = structuredClone(body)
  if (copy.system?.length === 0) delete copy.system
  if (Object.keys(copy.inferenceConfig ?? {}).length === 0) delete copy.inferenceConfig
  const schema = copy.outputConfig?.textFormat.structure.jsonSchema
  if (schema) schema.schema = JSON.parse(schema.schema)
  const own = copy.additionalModelRequestFields
  if (own?.thinking?.type === 'adaptive') {
    delete own.thinking.display
    own.output_config ??= { effort: 'high' }
  }
  return copy
}

test('every recorded request of Converse with a counterpart encodes to what Bedrock was sent', (t) => {
  const exchanges = recordedConverse()
  if (!exchanges) return t.skip(ABSENT)
  const without = new Map<string, number>()
  const wrong: string[] = []
  let right = 0
  for (const { file, request, pathModel, path, isStream } of exchanges) {
    const reason = uncovered(request)
    if (reason !== undefined) {
      without.set(reason, (without.get(reason) ?? 0) + 1)
      continue
    }
    const { ask, options } = askOf(request)
    const endpoint = testEndpoint({
      protocol: 'bedrock_converse',
      upstreamModel: decodeURIComponent(pathModel),
      reasoningOptions: options,
    })
    const encoded = bedrockConverse.encode(ask, endpoint, { stream: isStream })
    try {
      assert.equal(encoded.path, path)
      assert.deepEqual(normalised(JSON.parse(encoded.body)), normalised(request))
      assert.deepEqual(encoded.droppedParameters, [])
      right += 1
    } catch (error) {
      wrong.push(`${file}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  t.diagnostic(`bedrock: re-encoded ${right} of ${exchanges.length} requests`)
  for (const [reason, count] of without) t.diagnostic(`bedrock: ${count} not covered: ${reason}`)
  assert.deepEqual(wrong, [])
})
