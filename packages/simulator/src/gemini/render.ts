import type { Answer } from '../answer.ts'
import type { Exchange, Frame, Rendering, Usage } from '../family.ts'
import { type Json, type JsonObject, parseJson } from '../json.ts'
import { idFrom, numbersFrom, seedOf } from '../seed.ts'
import { countTokens, splitIntoPieces } from '../tokens.ts'
import type { GeminiModel } from './models.ts'
import { overloaded } from './refusal.ts'
import { signatureOf } from './thinking.ts'

/** Renders contents as `model` does; `showsThinking` says whether a summary of its thoughts was asked for. */
export function contentRendering(model: GeminiModel, showsThinking: boolean): Rendering {
  return {
    json: (exchange) => whole(exchange, model, showsThinking),
    frames: (exchange) => chunks(exchange, model, showsThinking),
    errorEvent: () => event(parseJson(overloaded()) ?? {}),
  }
}

const finishReasons: Readonly<Record<Answer['finish'], string>> = {
  stop: 'STOP',
  stop_sequence: 'STOP',
  length: 'MAX_TOKENS',
  tool_calls: 'STOP',
  refusal: 'SAFETY',
}

interface Step {
  readonly part: JsonObject
  readonly outputTokens: number
}

/** The parts of an answer as they are streamed. A call comes whole; a signature comes with the last of the text. */
function* steps(
  exchange: Exchange,
  answer: Answer,
  choice: number,
  model: GeminiModel,
  shown: boolean,
): Generator<Step> {
  const size = numbersFrom(seedOf(exchange.seed, `pieces ${choice}`))
  if (shown) {
    for (const { text, tokens } of splitIntoPieces(answer.reasoning, size)) {
      yield { part: { text, thought: true }, outputTokens: tokens }
    }
  }
  // Thoughts that do not show are spent before anything does.
  let unseen = shown ? 0 : answer.reasoningTokens
  for (const { text, tokens } of splitIntoPieces(answer.text, size)) {
    yield { part: { text }, outputTokens: tokens + unseen }
    unseen = 0
  }
  if (answer.text !== '' && answer.toolCalls.length === 0 && isSigned(answer, model)) {
    yield { part: { text: '', thoughtSignature: signatureOf(answer.text) }, outputTokens: 0 }
  }
  for (const [index, part] of callParts(exchange, answer, choice, model).entries()) {
    const call = answer.toolCalls[index]
    const tokens = countTokens(call?.name ?? '') + countTokens(call?.arguments ?? '')
    yield { part, outputTokens: tokens + unseen }
    unseen = 0
  }
  if (unseen > 0) yield { part: { text: '' }, outputTokens: unseen }
}

/** The newer models sign all that they say, the older ones what they have thought about. */
function isSigned(answer: Answer, model: GeminiModel): boolean {
  return model.isThirdGeneration || answer.reasoningTokens > 0
}

function callParts(
  exchange: Exchange,
  answer: Answer,
  choice: number,
  model: GeminiModel,
): readonly JsonObject[] {
  return answer.toolCalls.map((call, index) => {
    // Arguments that the bound of the output has cut are no JSON any more.
    const args: Json = parseJson(call.arguments) ?? {}
    const id = idFrom(seedOf(exchange.seed, exchange.requestId), `call ${choice} ${index}`, 8).toLowerCase()
    return {
      functionCall: { name: call.name, args, ...(model.isThirdGeneration ? { id } : {}) },
      ...(index === 0 && isSigned(answer, model) ? { thoughtSignature: signatureOf([call.name, args]) } : {}),
    }
  })
}

function tail(exchange: Exchange) {
  return {
    modelVersion: exchange.prompt.model,
    responseId: idFrom(seedOf(exchange.seed, exchange.requestId), 'response', 22),
  }
}

function usageBody({ inputTokens, cache, outputTokens, reasoningTokens }: Usage) {
  const candidates = outputTokens - reasoningTokens
  return {
    promptTokenCount: inputTokens,
    candidatesTokenCount: candidates,
    totalTokenCount: inputTokens + outputTokens,
    ...(cache.read > 0
      ? {
          cachedContentTokenCount: cache.read,
          cacheTokensDetails: [{ modality: 'TEXT', tokenCount: cache.read }],
        }
      : {}),
    promptTokensDetails: [{ modality: 'TEXT', tokenCount: inputTokens }],
    ...(reasoningTokens > 0 ? { thoughtsTokenCount: reasoningTokens } : {}),
  }
}

function whole(exchange: Exchange, model: GeminiModel, shown: boolean): string {
  const { answers, usage } = exchange
  const candidates = answers.map((answer, index) => {
    const thoughts = shown && answer.reasoning !== '' ? [{ text: answer.reasoning, thought: true }] : []
    const signed =
      isSigned(answer, model) && answer.toolCalls.length === 0
        ? { thoughtSignature: signatureOf(answer.text) }
        : {}
    const texts = answer.text === '' ? [] : [{ text: answer.text, ...signed }]
    const parts = [...thoughts, ...texts, ...callParts(exchange, answer, index, model)]
    return {
      content: { ...(parts.length === 0 ? {} : { parts }), role: 'model' },
      finishReason: finishReasons[answer.finish],
      index,
      ...(answer.toolCalls.length > 0 ? { finishMessage: 'Model generated function call(s).' } : {}),
    }
  })
  const counted = usage === undefined ? {} : { usageMetadata: usageBody(usage) }
  return JSON.stringify({ candidates, ...counted, ...tail(exchange) }, undefined, 2)
}

function event(body: Json): string {
  return `data: ${JSON.stringify(body)}\r\n\r\n`
}

/** Every message counts what has come so far; the last one of a candidate has its reason to finish and nothing else. */
function* chunks(exchange: Exchange, model: GeminiModel, shown: boolean): Generator<Frame> {
  const { answers, usage } = exchange
  let outputTokens = 0
  for (const [choice, answer] of answers.entries()) {
    const last = choice === answers.length - 1
    for (const step of steps(exchange, answer, choice, model, shown)) {
      outputTokens += step.outputTokens
      const candidate = { content: { parts: [step.part], role: 'model' }, index: choice }
      const bytes = event({ candidates: [candidate], ...soFar(usage, outputTokens), ...tail(exchange) })
      yield { bytes, outputTokens: step.outputTokens, content: step.part.text !== '' }
    }
    const end = {
      content: { parts: [{ text: '' }], role: 'model' },
      finishReason: finishReasons[answer.finish],
      index: choice,
    }
    const counted =
      last && usage !== undefined ? { usageMetadata: usageBody(usage) } : soFar(usage, outputTokens)
    yield {
      bytes: event({ candidates: [end], ...counted, ...tail(exchange) }),
      outputTokens: 0,
      content: false,
    }
  }
}

function soFar(usage: Usage | undefined, outputTokens: number) {
  if (usage === undefined) return {}
  const reasoningTokens = Math.min(usage.reasoningTokens, outputTokens)
  return { usageMetadata: usageBody({ ...usage, outputTokens, reasoningTokens }) }
}
