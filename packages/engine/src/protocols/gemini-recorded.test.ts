import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { testEndpoint } from '../../test/endpoints.ts'
import { ABSENT, decodeAll, type Expected, nothing } from '../../test/recorded-answers.ts'
import { type RecordedExchange, recordedExchanges } from '../../test/recorded-exchanges.ts'
import {
  askOfGeminiRequest,
  declarationsOf,
  lowerTypes,
  standardBase64,
  withCamelKeys,
} from '../../test/recorded-gemini-requests.ts'
import type { Json, JsonObject } from '../ask.ts'
import { arrayOf, objectOf, textOf } from '../wire-json.ts'
import { gemini } from './gemini.ts'

/* What Gemini was really sent and really answered, at Google AI Studio and on Vertex, which speak the same. */

const PATHS = [':generateContent', ':streamGenerateContent'] as const

interface RecordedPart {
  text?: string
  thought?: boolean
  thoughtSignature?: string
  functionCall?: { id?: string; name: string; args?: object }
}

interface RecordedResponse {
  candidates?: { content?: { parts?: RecordedPart[] }; finishReason?: string }[]
  promptFeedback?: { blockReason?: string }
  usageMetadata: {
    promptTokenCount?: number
    toolUsePromptTokenCount?: number
    candidatesTokenCount?: number
    thoughtsTokenCount?: number
    cachedContentTokenCount?: number
    totalTokenCount?: number
  }
}

const BLOCKED = ['SAFETY', 'MODEL_ARMOR', 'PROHIBITED_CONTENT', 'BLOCKLIST', 'SPII', 'RECITATION']

/** Put together from the record itself, with none of the code under test. */
function expectedOf({ body }: RecordedExchange): Expected {
  const expected = { ...nothing(), signatures: [] as string[] }
  const messages: RecordedResponse[] = body.startsWith('{')
    ? [JSON.parse(body)]
    : body
        .split('\n')
        .filter((line) => line.startsWith('data: {'))
        .map((line) => JSON.parse(line.slice(6)))
  for (const { candidates = [], promptFeedback, usageMetadata } of messages) {
    const [candidate] = candidates
    for (const { text, thought, thoughtSignature: signature, functionCall } of candidate?.content?.parts ??
      []) {
      if (functionCall) {
        const { id = '', name, args = {} } = functionCall
        const signed = signature === undefined ? {} : { signature }
        expected.calls.push({ id, name, arguments: JSON.stringify(args), ...signed })
      } else if (text !== undefined) {
        if (thought) expected.reasoning += text
        else expected.text += text
        if (signature !== undefined) expected.signatures.push(signature)
      }
    }
    const reason = candidate?.finishReason ?? promptFeedback?.blockReason
    if (reason !== undefined) expected.finish = BLOCKED.includes(reason) ? 'content_filter' : 'stop'
    expected.inputTotal = (usageMetadata.promptTokenCount ?? 0) + (usageMetadata.toolUsePromptTokenCount ?? 0)
    expected.outputTotal = (usageMetadata.totalTokenCount ?? 0) - expected.inputTotal
    expected.reasoningTokens = usageMetadata.thoughtsTokenCount ?? 0
    expected.cacheRead = usageMetadata.cachedContentTokenCount ?? 0
  }
  if (expected.finish === 'stop' && expected.calls.length > 0) expected.finish = 'tool_calls'
  return expected
}

test("every recorded answer of Gemini's decodes to what the record holds", (t) => {
  const exchanges = recordedExchanges(...PATHS)
  if (!exchanges) return t.skip(ABSENT)
  decodeAll(
    t,
    exchanges.filter(({ status }) => status < 300),
    gemini,
    expectedOf,
  )
})

const THIRD_GENERATION = /^gemini-[3-9]/

/** The models of the records: those from the third generation on know levels of thinking, the others budgets. */
function endpointOf(model: string) {
  const isThird = THIRD_GENERATION.test(model)
  return testEndpoint({
    provider: 'google',
    protocol: 'gemini',
    upstreamModel: model,
    outputTokensMax: 65_536,
    reasoningOptions: isThird
      ? [{ type: 'effort', values: ['minimal', 'low', 'medium', 'high'] }]
      : [{ type: 'toggle' }, { type: 'budget_tokens', min: 0, max: 24_576 }],
  })
}

/**
 * A request with everything taken out in which MESH differs on purpose:
 * - It always says `store: false`, and never `responseModalities`: text is what Gemini answers with.
 * - It has one tool with all functions, and no role for the system. Both spellings of names and base64 are one.
 * - Functions and formats are declared with JSON Schema, where older clients used OpenAPI's dialect with types in capitals.
 * - All of the functions allowed is the same as no list of them.
 * - Contents of one role that follow each other are one turn, and a missing configuration is an empty one.
 * - Ids are given where a record has none.
 * - One word stands for a signature that nobody has, where there were two, and none where none is needed.
 * - Thoughts are asked for together with how hard to think.
 */
function essence(body: unknown, model: string): JsonObject {
  const given = objectOf(withCamelKeys(body as Json)) ?? {}
  const { store: _, tools: __, systemInstruction, generationConfig, toolConfig, contents, ...rest } = given
  const {
    responseModalities: ___,
    responseSchema,
    responseJsonSchema,
    thinkingConfig,
    ...config
  } = objectOf(generationConfig) ?? {}
  const { thinkingLevel: ____, thinkingBudget, ...thinking } = objectOf(thinkingConfig) ?? {}
  const declared = declarationsOf(given)
  const calling = objectOf(objectOf(toolConfig)?.functionCallingConfig)
  const names = declared.map(({ name }) => name)
  const allowsAll = names.every((name) => arrayOf(calling?.allowedFunctionNames).includes(name ?? null))
  const { allowedFunctionNames, ...mode } = calling ?? {}
  return {
    ...rest,
    system: objectOf(systemInstruction)?.parts ?? [],
    functions: declared.map(({ name, description, parameters, parametersJsonSchema }) => ({
      name: name ?? null,
      description: description ?? null,
      schema: parametersJsonSchema ?? lowerTypes(parameters ?? null),
    })),
    calling: allowsAll || allowedFunctionNames === undefined ? mode : { ...mode, allowedFunctionNames },
    format: responseJsonSchema ?? lowerTypes(responseSchema ?? null),
    config: { ...config, thinking: thinkingBudget === 0 ? { thinkingBudget } : thinking },
    turns: turnsOf(arrayOf(contents), THIRD_GENERATION.test(model)),
  }
}

const UNSIGNED = ['skip_thought_signature_validator', 'context_engineering_is_the_way_to_go'].map(btoa)

function turnsOf(contents: readonly Json[], isThird: boolean): JsonObject[] {
  const turns: { role: Json; parts: Json[] }[] = []
  for (const content of contents) {
    const { role = 'user', parts } = objectOf(content) ?? {}
    const written = arrayOf(parts).map((part) => partOf(objectOf(part) ?? {}, isThird))
    const last = turns.at(-1)
    if (last?.role === role) last.parts.push(...written)
    else turns.push({ role, parts: written })
  }
  return turns
}

function partOf(part: JsonObject, isThird: boolean): JsonObject {
  const { thoughtSignature, functionCall, functionResponse, inlineData, ...rest } = part
  const signature = textOf(thoughtSignature)
  const standard = signature === undefined ? undefined : standardBase64(signature)
  const signed =
    standard !== undefined && UNSIGNED.includes(standard) ? (isThird ? 'unsigned' : undefined) : standard
  const call = objectOf(functionCall)
  const result = objectOf(functionResponse)
  const inline = objectOf(inlineData)
  return {
    ...rest,
    ...(signed === undefined ? {} : { thoughtSignature: signed }),
    ...(call ? { functionCall: { ...call, id: idOf(call.id) } } : {}),
    ...(result
      ? {
          functionResponse: {
            ...result,
            id: idOf(result.id),
            parts: arrayOf(result.parts).map((inner) => partOf(objectOf(inner) ?? {}, isThird)),
          },
        }
      : {}),
    ...(inline ? { inlineData: { ...inline, data: standardBase64(textOf(inline.data) ?? '') } } : {}),
  }
}

function idOf(id: Json | undefined): Json {
  return id === undefined || (typeof id === 'string' && id.startsWith('made_')) ? 'any' : id
}

function reencode({ path, requestBody }: RecordedExchange): string | undefined {
  const read = askOfGeminiRequest(requestBody)
  if (!read.ok) return read.reason
  const [model = '', action] = (path.split('/models/')[1] ?? '').split(':')
  const stream = action?.startsWith('stream') === true
  const encoded = gemini.encode(read.ask, endpointOf(model), { stream })
  assert.ok(path.endsWith(encoded.path), encoded.path)
  assert.deepEqual(essence(JSON.parse(encoded.body), model), essence(requestBody, model))
  assert.deepEqual(encoded.droppedParameters, [])
  // The same ask becomes the same bytes, or no prompt cache would ever hit (peer bug 20).
  assert.equal(gemini.encode(structuredClone(read.ask), endpointOf(model), { stream }).body, encoded.body)
  return undefined
}

test('every recorded request to Gemini that OpenAI has words for is encoded as it was sent', (t: TestContext) => {
  const exchanges = recordedExchanges(...PATHS)
  if (!exchanges) return t.skip(ABSENT)
  const tally = new Map<string, { right: number; all: number }>()
  const uncovered = new Map<string, number>()
  const wrong: string[] = []
  for (const exchange of exchanges) {
    const counted = tally.get(exchange.provider) ?? { right: 0, all: 0 }
    tally.set(exchange.provider, counted)
    counted.all += 1
    try {
      const reason = reencode(exchange)
      if (reason === undefined) counted.right += 1
      else uncovered.set(reason, (uncovered.get(reason) ?? 0) + 1)
    } catch (error) {
      wrong.push(`${exchange.file}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  for (const [provider, { right, all }] of tally) t.diagnostic(`${provider}: re-encoded ${right} of ${all}`)
  for (const [reason, count] of uncovered) t.diagnostic(`not covered: ${reason} (${count})`)
  assert.deepEqual(wrong, [])
})
