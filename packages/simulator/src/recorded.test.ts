import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { awsEventsIn } from '../test/aws-events.ts'
import { isList, isObject, type Json, type JsonObject, objectAt, parseJson, textAt } from './json.ts'
import type { SimulatedProvider } from './providers.ts'
import { startSimulator } from './server.ts'

/** Recorded exchanges with the real providers; they lie beside the project and are not part of it. */
const transcripts = resolve(import.meta.dirname, '../../../../shared/transcripts')

const simulator = await startSimulator()
after(() => simulator.close())

/** Every message of a kind, as the paths of the fields that it has (`.choices[].delta.content`). */
type Shapes = readonly ReadonlySet<string>[]

function pathsOf(value: Json | undefined, at = '', found = new Set<string>()): Set<string> {
  if (isList(value)) for (const item of value) pathsOf(item, `${at}[]`, found)
  else if (isObject(value)) {
    for (const [key, inner] of Object.entries(value)) {
      found.add(`${at}.${key}`)
      // What a tool is called with is the caller's own shape.
      if (key !== 'input' && key !== 'args') pathsOf(inner, `${at}.${key}`, found)
    }
  }
  return found
}

/** The shapes of the messages of an answer, sorted by kind: `answer`, `chunk`, or an event's own type. */
function shapesIn(body: Json | Uint8Array | undefined): Map<string, Set<string>[]> {
  const shapes = new Map<string, Set<string>[]>()
  if (body instanceof Uint8Array) {
    for (const { type, body: message } of awsEventsIn(body)) {
      shapes.set(type, [...(shapes.get(type) ?? []), pathsOf(message as JsonObject)])
    }
    return shapes
  }
  const messages = typeof body === 'string' ? messagesOfStream(body) : [body]
  for (const message of messages) {
    if (!isObject(message) || message.error !== undefined) continue
    const kind = typeof body === 'string' ? textAt(message, 'type') || 'chunk' : 'answer'
    shapes.set(kind, [...(shapes.get(kind) ?? []), pathsOf(message)])
  }
  return shapes
}

function messagesOfStream(text: string): readonly (Json | undefined)[] {
  const lines = text.split('\n').filter((line) => line.startsWith('data: {'))
  return lines.map((line) => parseJson(line.slice('data: '.length)))
}

/** Paths as the vendors have them; Google's copy of OpenAI's API is not what is simulated. */
const INFERENCE =
  /(\/messages|(?<!\/v1beta\/openai)\/chat\/completions|:(g|streamG)enerateContent|\/converse(-stream)?)$/

const FOLDERS: Readonly<Partial<Record<SimulatedProvider, string>>> = {
  google: 'gemini',
  'amazon-bedrock': 'bedrock',
}

/** Binary bodies were recorded in base64. */
function bodyOf({ encoding, body }: JsonObject): Json | Uint8Array | undefined {
  return encoding === 'base64' && typeof body === 'string' ? Buffer.from(body, 'base64') : body
}

function recordedShapes(provider: SimulatedProvider): Map<string, Shapes> | undefined {
  const folder = join(transcripts, FOLDERS[provider] ?? provider)
  if (!existsSync(folder)) return undefined
  const all = new Map<string, Set<string>[]>()
  for (const file of readdirSync(folder)) {
    const recorded = parseJson(readFileSync(join(folder, file), 'utf8'))
    if (!isObject(recorded)) continue
    const path = textAt(objectAt(recorded, 'request'), 'path').split('?', 1)[0] ?? ''
    const response = objectAt(recorded, 'response')
    if (response.status !== 200 || !INFERENCE.test(path)) continue
    for (const [kind, shapes] of shapesIn(bodyOf(response)))
      all.set(kind, [...(all.get(kind) ?? []), ...shapes])
  }
  return all
}

async function simulatedShapes(provider: SimulatedProvider, requests: readonly JsonObject[]) {
  const all = new Map<string, Set<string>[]>()
  for (const request of requests) {
    const { path, body: sent } = requestTo(provider, request)
    const answer = await fetch(simulator.baseUrl(provider) + path, {
      method: 'POST',
      headers: {
        authorization: 'Bearer test',
        'x-api-key': 'test',
        'x-goog-api-key': 'test',
        'anthropic-version': '2023-06-01',
      },
      body: JSON.stringify(sent),
    })
    const bytes = Buffer.from(await answer.arrayBuffer())
    const text = bytes.toString()
    assert.equal(answer.status, 200, text)
    const streamed = provider === 'amazon-bedrock' ? bytes : text
    const body = request.stream === true ? streamed : parseJson(text)
    for (const [kind, shapes] of shapesIn(body)) all.set(kind, [...(all.get(kind) ?? []), ...shapes])
  }
  return all
}

/** Google and Bedrock have the model, and whether to stream, in the path. */
function requestTo(provider: SimulatedProvider, request: JsonObject) {
  if (provider === 'anthropic') return { path: '/v1/messages', body: request }
  const { model, stream, ...body } = request
  if (provider === 'amazon-bedrock') {
    const action = stream === true ? 'converse-stream' : 'converse'
    return { path: `/model/${encodeURIComponent(String(model))}/${action}`, body }
  }
  if (provider !== 'google') return { path: '/chat/completions', body: request }
  const action = stream === true ? 'streamGenerateContent?alt=sse' : 'generateContent'
  return { path: `/models/${String(model)}:${action}`, body }
}

const messages = [{ role: 'user', content: 'Call get_weather, then answer with JSON only.' }]
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const chatTools = [{ type: 'function', function: { name: 'get_weather', parameters } }]
const claudeTools = [{ name: 'get_weather', input_schema: parameters }]
const thinking = { type: 'enabled', budget_tokens: 1024 }

function chatRequests(model: string, usageChunk: boolean): readonly JsonObject[] {
  const options = usageChunk ? { stream_options: { include_usage: true } } : {}
  return [{}, { tools: chatTools }].flatMap((extra) => [
    { model, messages, ...extra },
    { model, messages, ...extra, stream: true, ...options },
  ])
}

const claude = { model: 'claude-sonnet-4-5', max_tokens: 2000, messages }

const geminiTools = [{ functionDeclarations: [{ name: 'get_weather', parametersJsonSchema: parameters }] }]
const geminiRequests: readonly JsonObject[] = ['gemini-2.5-flash', 'gemini-3.5-flash'].flatMap((model) =>
  [false, true].flatMap((stream) => {
    const request = { model, stream, contents: [{ role: 'user', parts: [{ text: 'Call get_weather.' }] }] }
    const generationConfig = { thinkingConfig: { includeThoughts: true } }
    return [request, { ...request, tools: geminiTools }, { ...request, generationConfig }]
  }),
)

const converseTools = { tools: [{ toolSpec: { name: 'get_weather', inputSchema: { json: parameters } } }] }
const converseRequests: readonly JsonObject[] = [
  'us.amazon.nova-2-lite-v1:0',
  'global.anthropic.claude-sonnet-4-5-20250929-v1:0',
].flatMap((model) =>
  [false, true].flatMap((stream) => {
    const request = { model, stream, messages: [{ role: 'user', content: [{ text: 'Call get_weather.' }] }] }
    return [request, { ...request, toolConfig: converseTools }]
  }),
)

/** What our recordings do not show although the vendor's published types do. */
const unrecorded: Readonly<Partial<Record<SimulatedProvider, readonly string[]>>> = {
  // The recorded streams with thinking show it redacted or left out.
  anthropic: ['content_block_delta .delta.thinking'],
  // The one recorded stream is older than cache usage, and calls no tool.
  mistral: ['chunk .usage.prompt_tokens_details', 'chunk .choices[].delta.tool_calls'],
  // The recorded streams do not show thoughts, and the one recorded answer with cached tokens is whole.
  google: ['chunk .candidates[].content.parts[].thought'],
  // No recorded stream had a cache point.
  'amazon-bedrock': ['metadata .usage.cache'],
  // Recorded without a cached prefix.
  groq: ['answer .usage.prompt_tokens_details', 'chunk .usage.prompt_tokens_details'],
}

const compared: readonly (readonly [SimulatedProvider, readonly JsonObject[]])[] = [
  ['google', geminiRequests],
  ['amazon-bedrock', converseRequests],
  ['openai', [...chatRequests('gpt-4o-mini', true), ...chatRequests('gpt-5-mini', true)]],
  ['deepseek', chatRequests('deepseek-v4-flash', false)],
  [
    'groq',
    [...chatRequests('openai/gpt-oss-120b', false), ...chatRequests('llama-3.3-70b-versatile', false)],
  ],
  [
    'mistral',
    [...chatRequests('mistral-large-2512', false), ...chatRequests('magistral-medium-latest', false)],
  ],
  [
    'anthropic',
    [
      claude,
      { ...claude, tools: claudeTools },
      { ...claude, thinking },
      { ...claude, stream: true },
      { ...claude, stream: true, tools: claudeTools },
      { ...claude, stream: true, thinking },
      { ...claude, model: 'claude-sonnet-5', stream: true },
    ],
  ],
]

function union(shapes: Shapes | undefined): ReadonlySet<string> {
  return new Set((shapes ?? []).flatMap((shape) => [...shape]))
}

/** The fields that every message of a kind has. */
function common(shapes: Shapes | undefined): readonly string[] {
  const [first, ...others] = shapes ?? []
  return [...(first ?? [])].filter((path) => others.every((shape) => shape.has(path)))
}

for (const [provider, requests] of compared) {
  test(`${provider}: every field that the simulator sends has been seen from the real one`, async (t: TestContext) => {
    const recorded = recordedShapes(provider)
    if (recorded === undefined) {
      return t.skip('SKIPPED: the recorded exchanges (../shared/transcripts) are not on this machine')
    }
    const simulated = await simulatedShapes(provider, requests)
    const invented = [...simulated].flatMap(([kind, shapes]) => {
      // Of DeepSeek there is no recorded chat stream.
      if (kind === 'chunk' && !recorded.has(kind)) return []
      const seen = union(recorded.get(kind))
      return [...union(shapes)].filter((path) => !seen.has(path)).map((path) => `${kind} ${path}`)
    })
    const known = unrecorded[provider] ?? []
    assert.deepEqual(
      invented.filter((path) => !known.some((start) => path.startsWith(start))),
      [],
    )
  })

  test(`${provider}: no field is missing that the real one always sends`, async (t: TestContext) => {
    const recorded = recordedShapes(provider)
    if (recorded === undefined) {
      return t.skip('SKIPPED: the recorded exchanges (../shared/transcripts) are not on this machine')
    }
    const simulated = await simulatedShapes(provider, requests)
    const missing = [...recorded].flatMap(([kind, shapes]) => {
      const sent = (simulated.get(kind) ?? []).map((shape) => common([shape]))
      assert.ok(sent.length > 0, `the simulator never sends ${kind}`)
      return common(shapes)
        .filter((path) => !sent.every((paths) => paths.includes(path)))
        .map((path) => `${kind} ${path}`)
    })
    assert.deepEqual(missing, [])
  })
}
