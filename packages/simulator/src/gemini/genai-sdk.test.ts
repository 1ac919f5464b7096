import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import {
  ApiError,
  type Content,
  FunctionCallingConfigMode,
  type GenerateContentConfig,
  type GenerateContentResponse,
  GoogleGenAI,
  type Part,
  ThinkingLevel,
} from '@google/genai'
import { startSimulator } from '../server.ts'

const simulator = await startSimulator()
after(() => simulator.close())

/** The SDK puts the version between its base URL and the path. */
const baseUrl = simulator.baseUrl('google').replace(/\/v1beta$/, '')
const ai = new GoogleGenAI({ apiKey: 'test', httpOptions: { baseUrl, apiVersion: 'v1beta' } })
const FLASH_25 = 'gemini-2.5-flash'
const FLASH_3 = 'gemini-3.5-flash'
const schema = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 2 } },
  required: ['city', 'days'],
}
const weather = { name: 'get_weather', parametersJsonSchema: schema }
const clock = { name: 'get_time', parametersJsonSchema: { type: 'object', properties: {} } }

function ask(model: string, contents: string | Content[], config: GenerateContentConfig = {}) {
  return ai.models.generateContent({ model, contents, config })
}

async function streamed(
  model: string,
  contents: string | Content[],
  config: GenerateContentConfig = {},
): Promise<GenerateContentResponse[]> {
  const chunks: GenerateContentResponse[] = []
  for await (const chunk of await ai.models.generateContentStream({ model, contents, config }))
    chunks.push(chunk)
  return chunks
}

function partsOf(chunks: readonly GenerateContentResponse[]): readonly Part[] {
  return chunks.flatMap((chunk) => chunk.candidates?.[0]?.content?.parts ?? [])
}

function textOf(parts: readonly Part[], thought = false): string {
  return parts
    .map((part) => (part.thought === true) === thought && part.text)
    .filter(Boolean)
    .join('')
}

test('a plain answer and its usage, whole and streamed', async () => {
  const whole = await ask(FLASH_25, 'Hello there', { thinkingConfig: { thinkingBudget: 0 } })
  assert.match(whole.text ?? '', /^Simulated answer from gemini-2.5-flash: /)
  assert.equal(whole.candidates?.[0]?.finishReason, 'STOP')
  const output = Math.ceil((whole.text ?? '').length / 4)
  assert.equal(whole.usageMetadata?.candidatesTokenCount, output)
  assert.equal(whole.usageMetadata?.promptTokenCount, 2 + 3)
  assert.equal(whole.usageMetadata?.totalTokenCount, output + 5)
  const chunks = await streamed(FLASH_25, 'Hello there', { thinkingConfig: { thinkingBudget: 0 } })
  assert.equal(textOf(partsOf(chunks)), whole.text)
  assert.equal(chunks.at(-1)?.candidates?.[0]?.finishReason, 'STOP')
  assert.deepEqual(chunks.at(-1)?.usageMetadata, whole.usageMetadata)
})

test('thoughts are counted beside the answer, and show where that is asked for', async () => {
  const level = { thinkingLevel: ThinkingLevel.HIGH }
  const hidden = await ask(FLASH_3, 'Hello', { thinkingConfig: level })
  assert.equal(hidden.usageMetadata?.thoughtsTokenCount, 128)
  assert.ok(hidden.candidates?.[0]?.content?.parts?.every((part) => !part.thought))
  const chunks = await streamed(FLASH_3, 'Hello', { thinkingConfig: { ...level, includeThoughts: true } })
  assert.match(textOf(partsOf(chunks), true), /simulated thinking/)
  assert.ok(partsOf(chunks).at(-2)?.thoughtSignature)
  const budgeted = await ask('gemini-2.5-pro', 'Hello', { thinkingConfig: { thinkingBudget: 150 } })
  assert.equal(budgeted.usageMetadata?.thoughtsTokenCount, 150)
})

test('a tool round trip, whole and streamed, in which the signature of the first call comes back', async () => {
  const question: Content = { role: 'user', parts: [{ text: 'Use get_weather and get_time.' }] }
  const config = { tools: [{ functionDeclarations: [weather, clock] }] }
  for (const model of [FLASH_25, FLASH_3]) {
    for (const read of [ask, streamed]) {
      const answered = await read(model, [question], config)
      const parts = partsOf(Array.isArray(answered) ? answered : [answered]).filter(
        (part) => part.functionCall,
      )
      assert.deepEqual(
        parts.map(({ functionCall }) => functionCall?.args),
        [{ city: 'simulated', days: 2 }, {}],
      )
      assert.equal(parts[0]?.functionCall?.id !== undefined, model === FLASH_3)
      assert.deepEqual(
        parts.map((part) => part.thoughtSignature !== undefined),
        [true, false],
      )
      const results = parts.map(({ functionCall }) => ({
        functionResponse: { ...functionCall, args: undefined, response: { output: 'sunny' } },
      }))
      const turn = (calls: Part[]): Content[] => [
        question,
        { role: 'model', parts: calls },
        { role: 'user', parts: results },
      ]
      assert.match((await ask(model, turn([...parts]), config)).text ?? '', /2 tool result\(s\)/)
      const bare = turn(parts.map(({ functionCall }) => ({ functionCall })) as Part[])
      if (model === FLASH_3) await assert.rejects(ask(model, bare, config), /missing a thought_signature/)
      else assert.match((await ask(model, bare, config)).text ?? '', /2 tool result/)
      const forged = turn(parts.map((part) => ({ ...part, thoughtSignature: btoa('forged') })))
      await assert.rejects(ask(model, forged, config), /Corrupted thought signature/)
      const unsigned = turn(
        parts.map((part) => ({ ...part, thoughtSignature: btoa('skip_thought_signature_validator') })),
      )
      assert.match((await ask(model, unsigned, config)).text ?? '', /2 tool result/)
      await assert.rejects(ask(model, turn(parts.slice(0, 1)), config), /number of function response parts/)
    }
  }
})

test('modes of function calling', async () => {
  const tools = [{ functionDeclarations: [weather, clock] }]
  const withMode = (mode: FunctionCallingConfigMode, allowedFunctionNames?: string[]) => ({
    tools,
    toolConfig: {
      functionCallingConfig: { mode, ...(allowedFunctionNames ? { allowedFunctionNames } : {}) },
    },
  })
  const forced = await ask(FLASH_3, 'Hello', withMode(FunctionCallingConfigMode.ANY, ['get_time']))
  assert.deepEqual(
    forced.functionCalls?.map(({ name }) => name),
    ['get_time'],
  )
  const none = await ask(FLASH_3, 'get_time', withMode(FunctionCallingConfigMode.NONE))
  assert.equal(none.functionCalls, undefined)
  await assert.rejects(ask(FLASH_3, 'Hi', withMode(FunctionCallingConfigMode.ANY, ['other'])), /not declared/)
  await assert.rejects(
    ask(FLASH_3, 'Hi', withMode(FunctionCallingConfigMode.AUTO, ['get_time'])),
    /only when/,
  )
})

test('JSON by schema, alone and next to tools from the third generation on', async () => {
  const format = { responseMimeType: 'application/json', responseJsonSchema: schema }
  assert.deepEqual(JSON.parse((await ask(FLASH_25, 'Hello', format)).text ?? ''), {
    city: 'simulated',
    days: 2,
  })
  const old = { responseMimeType: 'application/json', responseSchema: { type: 'OBJECT', properties: {} } }
  assert.deepEqual(JSON.parse((await ask(FLASH_25, 'Hi', old as GenerateContentConfig)).text ?? ''), {})
  const both = { ...format, tools: [{ functionDeclarations: [clock] }] }
  assert.equal((await ask(FLASH_3, 'get_time', both)).functionCalls?.length, 1)
  await assert.rejects(ask(FLASH_25, 'get_time', both), /application\/json' is unsupported/)
})

test('stop sequences, the output bound and several candidates', async () => {
  const still = { thinkingConfig: { thinkingBudget: 0 } }
  const stopped = await ask(FLASH_25, 'Hello', { ...still, stopSequences: ['from'] })
  assert.equal(stopped.text, 'Simulated answer ')
  const cut = await ask(FLASH_25, 'Hello', { ...still, maxOutputTokens: 3 })
  assert.deepEqual([cut.text, cut.candidates?.[0]?.finishReason], ['Simulated an', 'MAX_TOKENS'])
  const several = await ask(FLASH_25, 'Hello', { ...still, candidateCount: 3 })
  assert.deepEqual(
    several.candidates?.map(({ index }) => index),
    [0, 1, 2],
  )
  await assert.rejects(ask(FLASH_3, 'Hello', { candidateCount: 2 }), /Multiple candidates/)
})

test('a long prefix is read from the cache the second time, as part of the prompt', async () => {
  const rules = 'These are the rules of the house. '.repeat(300)
  const first = await ask(FLASH_25, `${rules} One?`)
  const second = await ask(FLASH_25, `${rules} Two?`)
  assert.equal(first.usageMetadata?.cachedContentTokenCount, undefined)
  const cached = second.usageMetadata?.cachedContentTokenCount ?? 0
  assert.ok(cached >= 1_024 && cached < (second.usageMetadata?.promptTokenCount ?? 0))
})

test('pictures, sound and documents count as input', async () => {
  const part = (mimeType: string) => ({ inlineData: { mimeType, data: 'AAAA' } })
  const parts = [part('image/png'), part('application/pdf'), part('audio/wav'), { text: 'What?' }]
  const seen = await ask(FLASH_25, [{ role: 'user', parts }])
  assert.equal(seen.usageMetadata?.promptTokenCount, 2 + 258 + 258 + 32 + 2)
  await assert.rejects(ask(FLASH_25, [{ role: 'user', parts: [part('image/bmp')] }]), /Unsupported MIME type/)
})

/** What the vendor refuses, and what it says. */
const FAULTS: readonly (readonly [config: GenerateContentConfig, model: string, message: RegExp])[] = [
  [{ frequencyPenalty: 0.5 }, FLASH_25, /Penalty is not enabled/],
  [{ responseLogprobs: true }, FLASH_25, /Logprobs is not enabled/],
  [{ temperature: 3 }, FLASH_25, /temperature must be in the range/],
  [{ maxOutputTokens: 70_000 }, FLASH_25, /supported range is from 1/],
  [{ stopSequences: ['a', 'b', 'c', 'd', 'e', 'f'] }, FLASH_25, /must not exceed 5/],
  [{ thinkingConfig: { thinkingBudget: 0 } }, 'gemini-2.5-pro', /only works in thinking mode/],
  [{ thinkingConfig: { thinkingLevel: ThinkingLevel.LOW } }, FLASH_25, /Thinking level is not supported/],
  [
    { thinkingConfig: { thinkingLevel: ThinkingLevel.MINIMAL } },
    'gemini-3.1-pro-preview',
    /MINIMAL is not supported/,
  ],
  [{ tools: [{ functionDeclarations: [{ name: '1st' }] }] }, FLASH_25, /Invalid function name/],
  [{ tools: [{ googleSearch: {} }] }, FLASH_25, /no hosted tools/],
]

test('errors arrive as the client’s own class, with the vendor’s status', async () => {
  for (const [config, model, message] of FAULTS) {
    await assert.rejects(ask(model, 'Hello', config), (error) => {
      assert.ok(error instanceof ApiError)
      assert.equal(error.status, 400)
      assert.match(error.message, message)
      return true
    })
  }
  const steered = (steering: string, retries = 1) =>
    ask(FLASH_25, 'Hello', {
      httpOptions: { headers: { 'x-mesh-simulate': steering }, retryOptions: { attempts: retries } },
    })
  for (const [steering, status] of [
    ['rate_limit', 429],
    ['google=overloaded', 503],
    ['server_error', 500],
  ] as const) {
    await assert.rejects(steered(steering), (error) => error instanceof ApiError && error.status === status)
  }
  assert.equal((await steered('refusal')).candidates?.[0]?.finishReason, 'SAFETY')
  await assert.rejects(
    ask('gemini-nonsense', 'Hi'),
    (error) => error instanceof ApiError && error.status === 404,
  )
  const broken = streamed(FLASH_25, 'Hello', {
    httpOptions: { headers: { 'x-mesh-simulate': 'error_first' } },
  })
  await assert.rejects(broken, ApiError)
})

test('vectors of one text and of several', async () => {
  const model = 'gemini-embedding-001'
  const one = await ai.models.embedContent({ model, contents: 'Hello there' })
  assert.equal(one.embeddings?.[0]?.values?.length, 3072)
  const several = await ai.models.embedContent({
    model,
    contents: ['the red fox', 'a red fox', 'stock market'],
    config: { outputDimensionality: 256, taskType: 'CLUSTERING' },
  })
  const [fox = [], otherFox = [], market = []] = several.embeddings?.map(({ values }) => values ?? []) ?? []
  assert.equal(fox.length, 256)
  const nearness = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)
  assert.ok(nearness(fox, otherFox) > nearness(fox, market))
  await assert.rejects(ai.models.embedContent({ model: 'gemini-2.5-flash', contents: 'x' }), /not found/)
  const tooMany = Array.from({ length: 101 }, () => 'x')
  await assert.rejects(ai.models.embedContent({ model, contents: tooMany }), /at most 100/)
})
