import type { Answer } from '../answer.ts'
import type { Exchange, Frame, Rendering } from '../family.ts'
import { type JsonObject, numberAt, objectAt } from '../json.ts'
import { idFrom, numbersFrom, seedOf, uuidFrom } from '../seed.ts'
import { countTokens, type Piece, splitIntoPieces } from '../tokens.ts'
import { choiceFilterResults, promptFilterChunk, promptFilterResults } from './azure.ts'
import type { ChatDialect } from './dialects.ts'
import { envelope, serverError } from './refusal.ts'
import { usageBody } from './usage.ts'

/** Renders answers as this provider does, in the shape that `body` asked for. */
export function chatRendering(body: JsonObject, dialect: ChatDialect): Rendering {
  const options: Options = {
    dialect,
    logprobs: body.logprobs === true ? { alternatives: numberAt(body, 'top_logprobs') ?? 0 } : undefined,
    usageChunk: objectAt(body, 'stream_options').include_usage === true,
    namedTool: typeof body.tool_choice === 'object' && body.tool_choice !== null,
  }
  return {
    json: (exchange) => completion(exchange, options),
    frames: (exchange) => chunks(exchange, options),
    errorEvent: () => `data: ${JSON.stringify(envelope(dialect, serverError))}\n\n`,
  }
}

interface Options {
  readonly dialect: ChatDialect
  /** Log probabilities, where they are asked for, each with so many of the likeliest tokens in its place. */
  readonly logprobs: { readonly alternatives: number } | undefined
  readonly usageChunk: boolean
  readonly namedTool: boolean
}

function completionId(exchange: Exchange, dialect: ChatDialect): string {
  const seed = seedOf(exchange.seed, exchange.requestId)
  switch (dialect.completionId) {
    case 'chatcmpl':
      return `chatcmpl-${idFrom(seed, 'completion', 29)}`
    case 'uuid':
      return uuidFrom(seed, 'completion')
    case 'hex':
      return seedOf(seed, 'completion').slice(0, 32)
  }
}

function toolCallId(exchange: Exchange, dialect: ChatDialect, choice: number, index: number): string {
  const seed = seedOf(exchange.seed, exchange.requestId)
  const label = `call ${choice} ${index}`
  switch (dialect.toolCallId) {
    case 'call':
      return `call_${idFrom(seed, label, 24)}`
    case 'fc':
      return `fc_${uuidFrom(seed, label)}`
    case 'nine':
      return idFrom(seed, label, 9)
  }
}

/** OpenAI ends a call of a tool that was named in `tool_choice` with `stop`. */
function finishReason(answer: Answer, options: Options): string {
  switch (answer.finish) {
    case 'tool_calls':
      return options.namedTool && options.dialect.openAiModels ? 'stop' : 'tool_calls'
    case 'length':
      return 'length'
    case 'stop':
    case 'stop_sequence':
    case 'refusal':
      return 'stop'
  }
}

/** What stands at the top of a completion and of every chunk. */
function head(exchange: Exchange, dialect: ChatDialect, object: string) {
  return {
    id: completionId(exchange, dialect),
    object,
    created: Math.floor(exchange.createdMs / 1000),
    model: exchange.prompt.model,
    ...(dialect.openAiModels ? { service_tier: 'default' } : {}),
    ...(dialect.provider === 'mistral' ? {} : { system_fingerprint: 'fp_simulated' }),
  }
}

function completion(exchange: Exchange, options: Options): string {
  const { dialect } = options
  const { usage } = exchange
  return JSON.stringify({
    ...head(exchange, dialect, 'chat.completion'),
    choices: exchange.answers.map((answer, index) => ({
      index,
      message: message(exchange, answer, index, dialect),
      ...(dialect.provider === 'mistral'
        ? {}
        : { logprobs: options.logprobs ? logprobsOf(answer.text, options.logprobs) : null }),
      finish_reason: finishReason(answer, options),
      ...(dialect.provider === 'azure' ? { content_filter_results: choiceFilterResults } : {}),
    })),
    ...(dialect.provider === 'azure' ? { prompt_filter_results: promptFilterResults } : {}),
    ...(usage === undefined ? {} : { usage: usageBody(dialect, usage) }),
    ...(dialect.provider === 'groq' ? { usage_breakdown: null, x_groq: { id: exchange.requestId } } : {}),
  })
}

function message(exchange: Exchange, answer: Answer, choice: number, dialect: ChatDialect) {
  const calls = answer.toolCalls.map((call, index) => ({
    id: toolCallId(exchange, dialect, choice, index),
    ...(dialect.provider === 'mistral' ? {} : { type: 'function' }),
    function: { name: call.name, arguments: call.arguments },
    ...(dialect.provider === 'mistral' || dialect.provider === 'deepseek' ? { index } : {}),
  }))
  const refused = answer.refused && dialect.refusalField
  const text = refused || (calls.length > 0 && answer.text === '') ? null : answer.text
  return {
    role: 'assistant',
    content: content(answer, text, dialect),
    ...(dialect.refusalField ? { refusal: refused ? answer.text : null } : {}),
    ...(dialect.openAiModels ? { annotations: [] } : {}),
    ...reasoningField(answer, dialect),
    ...(calls.length > 0
      ? { tool_calls: calls }
      : dialect.provider === 'mistral'
        ? { tool_calls: null }
        : {}),
  }
}

function content(answer: Answer, text: string | null, dialect: ChatDialect) {
  if (dialect.provider === 'mistral' && text === null) return ''
  if (dialect.reasoning !== 'thinking_parts' || answer.reasoning === '') return text
  return [thinkingPart(answer.reasoning), { type: 'text', text: text ?? '' }]
}

function thinkingPart(text: string) {
  return { type: 'thinking', thinking: [{ type: 'text', text }] }
}

function reasoningField(answer: Answer, dialect: ChatDialect) {
  if (answer.reasoning === '') return {}
  if (dialect.reasoning === 'reasoning_content') return { reasoning_content: answer.reasoning }
  return dialect.reasoning === 'reasoning' ? { reasoning: answer.reasoning } : {}
}

function logprobsOf(text: string, { alternatives }: { readonly alternatives: number }) {
  const pieces = text === '' ? [] : (text.match(/.{1,4}/gsu) ?? [])
  const tokens = pieces.map((token) => ({
    ...logprob(token, -0.25),
    top_logprobs: Array.from({ length: alternatives }, (_, rank) =>
      rank === 0 ? logprob(token, -0.25) : logprob(`alt${rank}`, -1 - rank),
    ),
  }))
  return { content: tokens, refusal: null }
}

function logprob(token: string, value: number) {
  return { token, logprob: value, bytes: [...Buffer.from(token)] }
}

/** A change to one choice, before it is wrapped in a chunk. */
interface Delta {
  readonly delta: object
  readonly outputTokens: number
  readonly content: boolean
  readonly logprobs?: object
  readonly finish?: string
}

function* chunks(exchange: Exchange, options: Options): Generator<Frame> {
  const { dialect } = options
  const top = head(exchange, dialect, 'chat.completion.chunk')
  const next = numbersFrom(seedOf(exchange.seed, 'obfuscation'))
  const asksForUsage = options.usageChunk && dialect.usagePlace === 'own_chunk_if_asked'
  const usageOnFinish = dialect.usagePlace === 'finish_chunk' ? exchange.usage : undefined
  const noise = idFrom(exchange.seed, 'noise', 16)
  const padding = () => (dialect.openAiModels ? { obfuscation: noise.slice(next(15)) } : {})
  const nullUsage = asksForUsage && dialect.openAiModels ? { usage: null } : {}
  if (dialect.provider === 'azure') {
    yield { bytes: `data: ${JSON.stringify(promptFilterChunk)}\n\n`, outputTokens: 0, content: false }
  }
  let finished = 0
  for (const { index, step } of interleaved(exchange, options)) {
    if (step.finish !== undefined) finished += 1
    const chunk = {
      ...top,
      choices: [
        {
          index,
          delta: step.delta,
          ...(dialect.provider === 'mistral' ? {} : { logprobs: step.logprobs ?? null }),
          finish_reason: step.finish ?? null,
          ...(dialect.provider === 'azure'
            ? { content_filter_results: step.content ? choiceFilterResults : {} }
            : {}),
        },
      ],
      ...nullUsage,
      ...(finished === exchange.answers.length && usageOnFinish
        ? finishUsage(exchange.requestId, dialect, usageOnFinish)
        : {}),
      ...padding(),
    }
    yield {
      bytes: `data: ${JSON.stringify(chunk)}\n\n`,
      outputTokens: step.outputTokens,
      content: step.content,
    }
  }
  if (asksForUsage && exchange.usage !== undefined) {
    const chunk = { ...top, choices: [], usage: usageBody(dialect, exchange.usage), ...padding() }
    yield { bytes: `data: ${JSON.stringify(chunk)}\n\n`, outputTokens: 0, content: false }
  }
  yield { bytes: 'data: [DONE]\n\n', outputTokens: 0, content: false }
}

function finishUsage(requestId: string, dialect: ChatDialect, usage: NonNullable<Exchange['usage']>) {
  const body = usageBody(dialect, usage)
  return dialect.provider === 'groq'
    ? { x_groq: { id: requestId, usage: body }, usage: body }
    : { usage: body }
}

/** The choices' deltas in turn, one of each, as a provider that writes them at the same time sends them. */
function* interleaved(exchange: Exchange, options: Options): Generator<{ index: number; step: Delta }> {
  let running = exchange.answers.map((answer, index) => ({
    index,
    deltas: deltas(exchange, answer, index, options),
  }))
  while (running.length > 0) {
    const left: typeof running = []
    for (const choice of running) {
      const step = choice.deltas.next()
      if (step.done === true) continue
      yield { index: choice.index, step: step.value }
      left.push(choice)
    }
    running = left
  }
}

function* deltas(exchange: Exchange, answer: Answer, choice: number, options: Options): Generator<Delta> {
  const { dialect } = options
  const size = numbersFrom(seedOf(exchange.seed, 'pieces', String(choice)))
  const hidden = dialect.reasoning === 'hidden'
  const refused = answer.refused && dialect.refusalField
  const noText = refused || (answer.text === '' && answer.toolCalls.length > 0)
  yield {
    delta: {
      role: 'assistant',
      content: noText && dialect.openAiModels ? null : '',
      ...(dialect.refusalField ? { refusal: null } : {}),
    },
    // Hidden reasoning is generated before anything shows.
    outputTokens: hidden ? answer.reasoningTokens : 0,
    content: false,
  }
  if (!hidden) {
    for (const piece of splitIntoPieces(answer.reasoning, size))
      yield shown(reasoningDelta(piece, dialect), piece)
  }
  for (const piece of splitIntoPieces(answer.text, size)) {
    const delta = shown(refused ? { refusal: piece.text } : { content: piece.text }, piece)
    yield options.logprobs ? { ...delta, logprobs: logprobsOf(piece.text, options.logprobs) } : delta
  }
  for (const [index, call] of answer.toolCalls.entries())
    yield* callDeltas(exchange, call, choice, index, dialect, size)
  const rest = dialect.provider === 'mistral' ? { content: '' } : {}
  yield { delta: rest, outputTokens: 0, content: false, finish: finishReason(answer, options) }
}

function shown(delta: object, piece: Piece): Delta {
  return { delta, outputTokens: piece.tokens, content: true }
}

function reasoningDelta(piece: Piece, dialect: ChatDialect) {
  switch (dialect.reasoning) {
    case 'thinking_parts':
      return { content: [thinkingPart(piece.text)] }
    case 'reasoning':
      return { reasoning: piece.text, channel: 'analysis' }
    default:
      return { reasoning_content: piece.text }
  }
}

function* callDeltas(
  exchange: Exchange,
  call: Answer['toolCalls'][number],
  choice: number,
  index: number,
  dialect: ChatDialect,
  size: (bound: number) => number,
): Generator<Delta> {
  const id = toolCallId(exchange, dialect, choice, index)
  const nameTokens = countTokens(call.name)
  const whole = dialect.toolArguments === 'whole'
  const opening = {
    index,
    id,
    ...(dialect.provider === 'mistral' ? {} : { type: 'function' }),
    function: { name: call.name, arguments: whole ? call.arguments : '' },
  }
  const outputTokens = nameTokens + (whole ? countTokens(call.arguments) : 0)
  const beside = dialect.provider === 'mistral' ? { content: '' } : {}
  yield { delta: { ...beside, tool_calls: [opening] }, outputTokens, content: true }
  if (whole) return
  for (const piece of splitIntoPieces(call.arguments, size)) {
    yield shown({ tool_calls: [{ index, function: { arguments: piece.text } }] }, piece)
  }
}
