import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import {
  BedrockRuntimeClient,
  type BedrockRuntimeClientConfig,
  type ContentBlock,
  ConverseCommand,
  type ConverseCommandInput,
  type ConverseCommandOutput,
  ConverseStreamCommand,
  type ConverseStreamOutput,
  ServiceUnavailableException,
  ThrottlingException,
  ValidationException,
} from '@aws-sdk/client-bedrock-runtime'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { startSimulator } from '../server.ts'

const simulator = await startSimulator()
after(() => simulator.close())

const endpoint = simulator.baseUrl('amazon-bedrock')
const common: BedrockRuntimeClientConfig = {
  region: 'us-east-1',
  endpoint,
  maxAttempts: 1,
  // Without it the client speaks HTTP/2, which needs TLS to be agreed on.
  requestHandler: new NodeHttpHandler(),
}
const withKeys: BedrockRuntimeClientConfig = {
  ...common,
  credentials: { accessKeyId: 'AKIASIMULATED', secretAccessKey: 'simulated', sessionToken: 'simulated' },
}
const withToken: BedrockRuntimeClientConfig = {
  ...common,
  token: { token: 'simulated' },
  authSchemePreference: ['httpBearerAuth'],
}
const client = new BedrockRuntimeClient(withKeys)
after(() => client.destroy())

const nova = 'us.amazon.nova-2-lite-v1:0'
const claude = 'global.anthropic.claude-sonnet-4-5-20250929-v1:0'
const hello: ConverseCommandInput['messages'] = [{ role: 'user', content: [{ text: 'Hello there' }] }]
const weather = {
  toolSpec: {
    name: 'get_weather',
    inputSchema: {
      json: {
        type: 'object',
        properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 2 } },
        required: ['city', 'days'],
      },
    },
  },
}
const clock = { toolSpec: { name: 'get_time', inputSchema: { json: { type: 'object', properties: {} } } } }

function textOf(content: readonly ContentBlock[] = []): string {
  return content.map((block) => block.text ?? '').join('')
}

async function streamed(input: ConverseCommandInput, steering = '', config = withKeys) {
  const own = new BedrockRuntimeClient(config)
  const command = new ConverseStreamCommand(input)
  command.middlewareStack.add(
    (next) => (args) => {
      const { request } = args as { request: { headers: Record<string, string> } }
      if (steering !== '') request.headers['x-mesh-simulate'] = steering
      return next(args)
    },
    { step: 'build' },
  )
  try {
    const { stream } = await own.send(command)
    const events: ConverseStreamOutput[] = []
    for await (const event of stream ?? []) events.push(event)
    return events
  } finally {
    own.destroy()
  }
}

test('a plain answer and its usage, with signed requests and with a bearer token', async () => {
  for (const config of [withKeys, withToken]) {
    const own: BedrockRuntimeClient = new BedrockRuntimeClient(config)
    const { output, stopReason, usage }: ConverseCommandOutput = await own.send(
      new ConverseCommand({ modelId: nova, messages: hello }),
    )
    own.destroy()
    const text = textOf(output?.message?.content)
    assert.match(text, /^Simulated answer from us\.amazon\.nova-2-lite-v1:0: /)
    assert.equal(stopReason, 'end_turn')
    assert.equal(usage?.inputTokens, 4 + 3)
    assert.equal(usage?.outputTokens, Math.ceil(text.length / 4))
    assert.equal(usage?.totalTokens, 7 + Math.ceil(text.length / 4))
  }
})

test('a stream has the events of the vendor, in their order, and adds up', async () => {
  for (const config of [withKeys, withToken]) {
    const events = await streamed({ modelId: nova, messages: hello }, '', config)
    const kinds = events.map((event) => Object.keys(event)[0] ?? '')
    assert.deepEqual(
      kinds.filter((kind, at) => kind !== kinds[at - 1]),
      ['messageStart', 'contentBlockDelta', 'contentBlockStop', 'messageStop', 'metadata'],
    )
    const text = events.map((event) => event.contentBlockDelta?.delta?.text ?? '').join('')
    assert.match(text, /^Simulated answer/)
    const { usage } = events.at(-1)?.metadata ?? {}
    assert.equal(usage?.outputTokens, Math.ceil(text.length / 4))
  }
})

test('a tool round trip with thinking that is given back under its signature', async () => {
  const question = { role: 'user' as const, content: [{ text: 'Use get_weather and get_time.' }] }
  const request = {
    modelId: claude,
    toolConfig: { tools: [weather, clock] },
    inferenceConfig: { maxTokens: 4000 },
    additionalModelRequestFields: { thinking: { type: 'enabled', budget_tokens: 1024 } },
  }
  const called = await client.send(new ConverseCommand({ ...request, messages: [question] }))
  const content = called.output?.message?.content ?? []
  assert.deepEqual(
    content.map((block) => Object.keys(block)[0]),
    ['reasoningContent', 'text', 'toolUse', 'toolUse'],
  )
  assert.equal(called.stopReason, 'tool_use')
  const uses = content.flatMap(({ toolUse }) => (toolUse ? [toolUse] : []))
  assert.deepEqual(
    uses.map(({ input }) => input),
    [{ city: 'simulated', days: 2 }, {}],
  )
  const results = uses.map(({ toolUseId }) => ({
    toolResult: { toolUseId, content: [{ text: 'sunny' }], status: 'success' as const },
  }))
  const turns = (assistant: ContentBlock[]): ConverseCommandInput['messages'] => [
    question,
    { role: 'assistant', content: assistant },
    { role: 'user', content: results },
  ]
  const answer = await client.send(new ConverseCommand({ ...request, messages: turns(content) }))
  assert.match(textOf(answer.output?.message?.content), /2 tool result\(s\)/)

  const forged = content.map((block) =>
    block.reasoningContent
      ? { reasoningContent: { reasoningText: { text: 'x', signature: 'forged' } } }
      : block,
  )
  await assert.rejects(
    client.send(new ConverseCommand({ ...request, messages: turns(forged as ContentBlock[]) })),
    ValidationException,
  )
  const { toolConfig: _, ...withoutTools } = request
  await assert.rejects(
    client.send(new ConverseCommand({ ...withoutTools, messages: turns(content) })),
    /toolConfig field must be defined/,
  )
})

test('streamed tools: a start, fragments of arguments, nothing for a call without any', async () => {
  const messages: ConverseCommandInput['messages'] = [
    { role: 'user', content: [{ text: 'Use get_weather and get_time.' }] },
  ]
  const toolConfig = { tools: [weather, clock], toolChoice: { any: {} } }
  const events = await streamed({ modelId: claude, messages, toolConfig })
  const starts = events.flatMap(({ contentBlockStart }) => contentBlockStart?.start?.toolUse ?? [])
  assert.deepEqual(
    starts.map(({ name }) => name),
    ['get_weather', 'get_time'],
  )
  const fragments = events.flatMap(({ contentBlockDelta }) => contentBlockDelta?.delta?.toolUse?.input ?? [])
  assert.ok(fragments.length > 1)
  assert.deepEqual(JSON.parse(fragments.join('')), { city: 'simulated', days: 2 })
})

test('reasoning as each vendor shows it', async () => {
  const inferenceConfig = { maxTokens: 2000 }
  const shown = async (modelId: string, additionalModelRequestFields?: object) => {
    const { output } = await client.send(
      new ConverseCommand({
        modelId,
        messages: hello,
        inferenceConfig,
        ...(additionalModelRequestFields
          ? { additionalModelRequestFields: { ...additionalModelRequestFields } }
          : {}),
      }),
    )
    return output?.message?.content?.[0]?.reasoningContent?.reasoningText
  }
  const novaThought = await shown(nova, {
    reasoningConfig: { type: 'enabled', maxReasoningEffort: 'medium' },
  })
  assert.deepEqual(novaThought, { text: '[REDACTED]' })
  const openThought = await shown('openai.gpt-oss-20b-1:0', { reasoning_effort: 'low' })
  assert.ok(openThought?.text && openThought.signature === undefined)
  const claudeThought = await shown(claude, { thinking: { type: 'enabled', budget_tokens: 1024 } })
  assert.ok(claudeThought?.text && claudeThought.signature)
})

test('what Bedrock refuses, the client throws as its own errors', async () => {
  const send = (input: Partial<ConverseCommandInput>) =>
    client.send(new ConverseCommand({ modelId: nova, messages: hello, ...input }))
  const refused: readonly (readonly [Partial<ConverseCommandInput>, RegExp])[] = [
    [{ modelId: 'us.does-not-exist-model-v1:0' }, /model identifier is invalid/],
    [{ messages: [] }, /length greater than or equal to 1/],
    [{ messages: [{ role: 'assistant', content: [{ text: 'Hi' }] }] }, /must start with a user message/],
    [{ messages: [{ role: 'user', content: [{ text: ' ' }] }] }, /is blank/],
    [{ inferenceConfig: { temperature: 1.5 } }, /less than or equal to 1/],
    [{ inferenceConfig: { maxTokens: 0 } }, /greater than or equal to 1/],
    [{ inferenceConfig: { maxTokens: 10_000_000 } }, /exceeds the model limit/],
    [{ modelId: claude, inferenceConfig: { temperature: 1, topP: 1 } }, /cannot both be specified/],
    [
      {
        modelId: 'us.meta.llama4-scout-17b-instruct-v1:0',
        toolConfig: { tools: [clock], toolChoice: { any: {} } },
      },
      /doesn't support the toolConfig\.toolChoice\.any field/,
    ],
    [{ additionalModelRequestFields: { made_up: 1 } }, /extraneous key \[made_up\]/],
    [{ toolConfig: { tools: [] } }, /at least 1 item/],
  ]
  for (const [input, message] of refused) {
    await assert.rejects(send(input), (error) => {
      assert.ok(error instanceof ValidationException)
      assert.match(error.message, message)
      return true
    })
  }
  const document = (name: string) => ({
    document: { name, format: 'txt' as const, source: { bytes: new TextEncoder().encode('text') } },
  })
  const withDocuments = (...content: ContentBlock[]) => send({ messages: [{ role: 'user', content }] })
  await assert.rejects(withDocuments(document('one')), /must also include a text/)
  await assert.rejects(withDocuments({ text: 'Read' }, document('a/b')), /file name can only contain/)
  await assert.rejects(
    withDocuments({ text: 'Read' }, document('a'), document('a')),
    /duplicate document names/,
  )
  await withDocuments({ text: 'Read' }, document('a'), document('b'))
})

test("faults of the host are the client's own errors, before a stream and inside one", async () => {
  const input = { modelId: nova, messages: hello }
  await assert.rejects(streamed(input, 'rate_limit'), ThrottlingException)
  await assert.rejects(streamed(input, 'overloaded'), ServiceUnavailableException)
  await assert.rejects(streamed(input, 'error_first'), ServiceUnavailableException)
  await assert.rejects(streamed(input, 'error_mid'), ServiceUnavailableException)
  await assert.rejects(streamed(input, 'malformed'), /checksum/i)
  await assert.rejects(streamed(input, 'cut_stream'))
  // The client takes an early end for an end: that there was no metadata is for its user to see.
  const early = await streamed(input, 'early_eof')
  assert.equal(early.at(-1)?.metadata, undefined)
  const untold = await streamed(input, 'lying_usage=missing')
  assert.equal(untold.at(-1)?.metadata?.usage, undefined)
})

test('a schema is answered by an example of it', async () => {
  const schema = JSON.stringify(weather.toolSpec.inputSchema.json)
  const { output } = await client.send(
    new ConverseCommand({
      modelId: claude,
      messages: hello,
      outputConfig: {
        textFormat: { type: 'json_schema', structure: { jsonSchema: { name: 'weather', schema } } },
      },
    }),
  )
  assert.deepEqual(JSON.parse(textOf(output?.message?.content)), { city: 'simulated', days: 2 })
})

test('prefixes up to cache points are written once and read afterwards', async () => {
  const system = [
    { text: 'You know this by heart. '.repeat(300) },
    { cachePoint: { type: 'default' as const, ttl: '1h' as const } },
  ]
  const ask = () => client.send(new ConverseCommand({ modelId: claude, system, messages: hello }))
  const first = (await ask()).usage
  const second = (await ask()).usage
  assert.ok(first?.cacheWriteInputTokens && first.cacheWriteInputTokens > 1024)
  assert.deepEqual(first.cacheDetails, [{ ttl: '1h', inputTokens: first.cacheWriteInputTokens }])
  assert.equal(second?.cacheReadInputTokens, first.cacheWriteInputTokens)
  assert.equal(second?.inputTokens, first.inputTokens)
})

test('a request without a credential, or with half a signature, is refused', async () => {
  const url = `${endpoint}/model/${encodeURIComponent(nova)}/converse`
  const send = async (headers: Record<string, string>) => {
    const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ messages: hello }) })
    return [answer.status, answer.headers.get('x-amzn-errortype')?.split(':')[0]]
  }
  const signature = `Signature=${'0'.repeat(64)}`
  const scope = 'Credential=AKIA/20270101/us-east-1/bedrock/aws4_request'
  const date = { 'x-amz-date': '20270101T000000Z' }
  assert.deepEqual(await send({}), [403, 'MissingAuthenticationTokenException'])
  const covering = (names: string) => `AWS4-HMAC-SHA256 ${scope}, SignedHeaders=${names}, ${signature}`
  assert.deepEqual(await send({ authorization: covering('host;x-amz-date') }), [
    403,
    'IncompleteSignatureException',
  ])
  assert.deepEqual(await send({ authorization: covering('host'), ...date }), [
    403,
    'UnrecognizedClientException',
  ])
  assert.deepEqual(await send({ authorization: covering('host;x-amz-date'), ...date }), [200, undefined])
})
