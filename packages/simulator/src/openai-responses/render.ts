import type { Answer } from '../answer.ts'
import type { Exchange, Frame, Rendering } from '../family.ts'
import { isList, type JsonObject, objectAt, textAt } from '../json.ts'
import { serverError } from '../openai-chat/refusal.ts'
import { idFrom, numbersFrom, seedOf } from '../seed.ts'
import { countTokens, type Piece, splitIntoPieces } from '../tokens.ts'
import { encryptedReasoning } from './reasoning.ts'

/** Renders answers as OpenAI's Responses do, in the form that `body` asked for. */
export function responsesRendering(body: JsonObject): Rendering {
  return {
    json: (exchange) => JSON.stringify(finalResponse(exchange, body)),
    frames: (exchange) => frames(exchange, body),
    errorEvent: () => {
      const { message, param, code } = serverError
      const event = { type: 'error', code: code ?? 'server_error', message, param, sequence_number: 0 }
      return `event: error\ndata: ${JSON.stringify(event)}\n\n`
    },
  }
}

const summary = '**Simulating**\n\nThe model thinks about a simulated answer.'

/** What stands in every response object, whole or not. */
function head(exchange: Exchange, body: JsonObject) {
  const { effort = null, summary: summaryAsked = null } = objectAt(body, 'reasoning')
  const text = objectAt(body, 'text')
  return {
    id: `resp_${idFrom(seedOf(exchange.seed, exchange.requestId), 'response', 48)}`,
    object: 'response',
    created_at: Math.floor(exchange.createdMs / 1000),
    status: 'in_progress',
    background: false,
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: null,
    model: exchange.prompt.model,
    output: [] as object[],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    prompt_cache_key: body.prompt_cache_key ?? null,
    reasoning: { effort, summary: summaryAsked },
    safety_identifier: body.safety_identifier ?? null,
    service_tier: 'auto',
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    text: { format: text.format ?? { type: 'text' }, verbosity: text.verbosity ?? 'medium' },
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? 1,
    truncation: 'disabled',
    usage: null as object | null,
    user: null,
    metadata: body.metadata ?? {},
  }
}

function finalResponse(exchange: Exchange, body: JsonObject) {
  const answer = exchange.answers[0]
  const cut = answer?.finish === 'length'
  const { usage } = exchange
  return {
    ...head(exchange, body),
    status: cut ? 'incomplete' : 'completed',
    incomplete_details: cut ? { reason: 'max_output_tokens' } : null,
    output: itemsOf(exchange, body).map(({ whole }) => whole),
    usage:
      usage === undefined
        ? null
        : {
            input_tokens: usage.inputTokens,
            input_tokens_details: { cached_tokens: usage.cache.read },
            output_tokens: usage.outputTokens,
            output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
            total_tokens: usage.inputTokens + usage.outputTokens,
          },
  }
}

/** An output item: as it begins, as it is in the end, and what is told in between. */
interface OutputItem {
  readonly opening: object
  readonly whole: object
  readonly id: string
  /** Tokens that were spent before anything of it shows. */
  readonly hiddenTokens: number
  readonly text?: {
    readonly kind: 'output_text' | 'refusal' | 'summary' | 'arguments'
    readonly text: string
  }
  readonly logprobs?: boolean
}

function itemsOf(exchange: Exchange, body: JsonObject): readonly OutputItem[] {
  const [answer] = exchange.answers
  if (answer === undefined) return []
  const seed = seedOf(exchange.seed, exchange.requestId)
  const calls = answer.toolCalls.map((call, index) => callItem(call, seed, index))
  const hasText = answer.text !== '' || calls.length === 0
  // An answer that was cut while the model thought has no message.
  const spoken =
    hasText && !(answer.finish === 'length' && answer.text === '') ? [messageItem(answer, body, seed)] : []
  return [...(answer.reasoningTokens > 0 ? [reasoningItem(answer, body, seed)] : []), ...spoken, ...calls]
}

function reasoningItem(answer: Answer, body: JsonObject, seed: string): OutputItem {
  const id = `rs_${idFrom(seed, 'reasoning', 48)}`
  const include = isList(body.include) ? body.include : []
  const encrypted = include.includes('reasoning.encrypted_content')
    ? { encrypted_content: encryptedReasoning(seed) }
    : {}
  const summed = textAt(objectAt(body, 'reasoning'), 'summary') !== ''
  const item = { id, type: 'reasoning', ...encrypted, summary: [] as object[] }
  return {
    id,
    opening: item,
    whole: { ...item, summary: summed ? [{ type: 'summary_text', text: summary }] : [] },
    hiddenTokens: answer.reasoningTokens,
    ...(summed ? { text: { kind: 'summary' as const, text: summary } } : {}),
  }
}

function messageItem(answer: Answer, body: JsonObject, seed: string): OutputItem {
  const id = `msg_${idFrom(seed, 'message', 48)}`
  const kind = answer.refused ? 'refusal' : 'output_text'
  const include = isList(body.include) ? body.include : []
  const logprobs = include.includes('message.output_text.logprobs')
  const item = { id, type: 'message', role: 'assistant' }
  return {
    id,
    opening: { ...item, status: 'in_progress', content: [] },
    whole: {
      ...item,
      status: answer.finish === 'length' ? 'incomplete' : 'completed',
      content: [contentPart(kind, answer.text, logprobs)],
    },
    hiddenTokens: 0,
    text: { kind, text: answer.text },
    logprobs,
  }
}

function callItem(call: Answer['toolCalls'][number], seed: string, index: number): OutputItem {
  const id = `fc_${idFrom(seed, `item ${index}`, 48)}`
  const item = {
    id,
    type: 'function_call',
    call_id: `call_${idFrom(seed, `call ${index}`, 24)}`,
    name: call.name,
  }
  return {
    id,
    opening: { ...item, status: 'in_progress', arguments: '' },
    whole: { ...item, status: 'completed', arguments: call.arguments },
    hiddenTokens: countTokens(call.name),
    text: { kind: 'arguments', text: call.arguments },
  }
}

function contentPart(kind: 'output_text' | 'refusal', text: string, logprobs: boolean) {
  return kind === 'refusal'
    ? { type: 'refusal', refusal: text }
    : { type: 'output_text', text, annotations: [], logprobs: logprobs ? logprobsOf(text) : [] }
}

function logprobsOf(text: string) {
  return (text.match(/.{1,4}/gsu) ?? []).map((token) => ({
    token,
    logprob: -0.25,
    bytes: [...Buffer.from(token)],
    top_logprobs: [],
  }))
}

function* frames(exchange: Exchange, body: JsonObject): Generator<Frame> {
  let sequence = 0
  const frame = (type: string, members: object, piece?: { tokens: number; content: boolean }): Frame => {
    const event = { type, sequence_number: sequence, ...members }
    sequence += 1
    return {
      bytes: `event: ${type}\ndata: ${JSON.stringify(event)}\n\n`,
      outputTokens: piece?.tokens ?? 0,
      content: piece?.content ?? false,
    }
  }
  const response = head(exchange, body)
  yield frame('response.created', { response })
  yield frame('response.in_progress', { response })
  const size = numbersFrom(seedOf(exchange.seed, 'pieces'))
  for (const [index, item] of itemsOf(exchange, body).entries()) {
    const place = { output_index: index }
    yield frame(
      'response.output_item.added',
      { ...place, item: item.opening },
      // A call's name shows; what was thought does not.
      { tokens: item.hiddenTokens, content: item.text?.kind === 'arguments' },
    )
    yield* itemFrames(item, { ...place, item_id: item.id }, size, frame)
    yield frame('response.output_item.done', { ...place, item: item.whole })
  }
  const final = finalResponse(exchange, body)
  yield frame(`response.${final.status}`, { response: final })
}

type MakeFrame = (type: string, members: object, piece?: { tokens: number; content: boolean }) => Frame

function* itemFrames(
  { text, logprobs = false }: OutputItem,
  place: object,
  size: (bound: number) => number,
  frame: MakeFrame,
): Generator<Frame> {
  if (text === undefined) return
  const told = (piece: Piece) => ({ tokens: piece.tokens, content: true })
  switch (text.kind) {
    case 'arguments':
      for (const piece of splitIntoPieces(text.text, size)) {
        yield frame('response.function_call_arguments.delta', { ...place, delta: piece.text }, told(piece))
      }
      yield frame('response.function_call_arguments.done', { ...place, arguments: text.text })
      return
    case 'summary': {
      const part = { ...place, summary_index: 0 }
      yield frame('response.reasoning_summary_part.added', {
        ...part,
        part: { type: 'summary_text', text: '' },
      })
      for (const piece of splitIntoPieces(text.text, size)) {
        yield frame('response.reasoning_summary_text.delta', { ...part, delta: piece.text })
      }
      yield frame('response.reasoning_summary_text.done', { ...part, text: text.text })
      yield frame('response.reasoning_summary_part.done', {
        ...part,
        part: { type: 'summary_text', text: text.text },
      })
      return
    }
    default: {
      const part = { ...place, content_index: 0 }
      const { kind } = text
      yield frame('response.content_part.added', { ...part, part: contentPart(kind, '', false) })
      for (const piece of splitIntoPieces(text.text, size)) {
        const probabilities =
          kind === 'output_text' ? { logprobs: logprobs ? logprobsOf(piece.text) : [] } : {}
        yield frame(`response.${kind}.delta`, { ...part, delta: piece.text, ...probabilities }, told(piece))
      }
      const whole = kind === 'refusal' ? { refusal: text.text } : { text: text.text, logprobs: [] }
      yield frame(`response.${kind}.done`, { ...part, ...whole })
      yield frame('response.content_part.done', { ...part, part: contentPart(kind, text.text, logprobs) })
    }
  }
}
