import type { Answer } from '../answer.ts'
import type { Exchange, Frame, Rendering, Usage } from '../family.ts'
import { idFrom, numbersFrom, seedOf, uuidFrom } from '../seed.ts'
import { countTokens, splitIntoPieces } from '../tokens.ts'

/** What Cohere's own templates add to a prompt and to an answer: processed, and not billed. */
const templateTokens = { input: 490, output: 2 } as const

const finishReasons: Readonly<Record<Answer['finish'], string>> = {
  stop: 'COMPLETE',
  // The sequence itself is left out of the text.
  stop_sequence: 'STOP_SEQUENCE',
  length: 'MAX_TOKENS',
  tool_calls: 'TOOL_CALL',
  refusal: 'COMPLETE',
}

/** Renders chat answers. */
export const chatRendering: Rendering = {
  json: message,
  frames: events,
  errorEvent: ({ requestId }) => event('message-end', errorEnd(requestId)).bytes,
}

function errorEnd(requestId: string) {
  return { id: requestId, delta: { error: 'internal server error', finish_reason: 'ERROR' } }
}

/** What a call before tools is introduced with is a plan, not content. */
function planOf(answer: Answer): string {
  return answer.toolCalls.length > 0 ? answer.text : ''
}

function contentOf(answer: Answer): string {
  return answer.toolCalls.length > 0 ? '' : answer.text
}

function answerOf({ answers: [answer] }: Exchange): Answer {
  if (answer === undefined) throw new Error('an exchange without an answer')
  return answer
}

function messageId(exchange: Exchange): string {
  return uuidFrom(seedOf(exchange.seed, exchange.requestId), 'message')
}

function wireCall(exchange: Exchange, index: number) {
  const call = answerOf(exchange).toolCalls[index]
  const name = call?.name ?? ''
  const id = idFrom(seedOf(exchange.seed, exchange.requestId), `call ${index}`, 12).toLowerCase()
  return { id: `${name}_${id}`, type: 'function', function: { name, arguments: call?.arguments ?? '' } }
}

function usageBody(usage: Usage) {
  return {
    billed_units: {
      input_tokens: usage.inputTokens,
      output_tokens: usage.outputTokens - usage.reasoningTokens,
    },
    tokens: {
      input_tokens: usage.inputTokens + templateTokens.input,
      output_tokens: usage.outputTokens + templateTokens.output,
    },
    ...(usage.cache.read > 0 ? { cached_tokens: usage.cache.read } : {}),
  }
}

function message(exchange: Exchange): string {
  const answer = answerOf(exchange)
  const { usage } = exchange
  const text = contentOf(answer)
  const content = [
    ...(answer.reasoning === '' ? [] : [{ type: 'thinking', thinking: answer.reasoning }]),
    ...(text === '' ? [] : [{ type: 'text', text }]),
  ]
  return JSON.stringify({
    id: messageId(exchange),
    message: {
      role: 'assistant',
      ...(content.length > 0 || answer.toolCalls.length === 0 ? { content } : {}),
      ...(answer.toolCalls.length > 0
        ? { tool_calls: answer.toolCalls.map((_, index) => wireCall(exchange, index)) }
        : {}),
      ...(planOf(answer) === '' ? {} : { tool_plan: planOf(answer) }),
    },
    finish_reason: finishReasons[answer.finish],
    ...(usage === undefined ? {} : { usage: usageBody(usage) }),
  })
}

function event(type: string, data: object, outputTokens = 0, content = false): Frame {
  return { bytes: `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`, outputTokens, content }
}

function* events(exchange: Exchange): Generator<Frame> {
  const answer = answerOf(exchange)
  const { usage } = exchange
  const size = numbersFrom(seedOf(exchange.seed, 'pieces'))
  const empty = { role: 'assistant', content: [], tool_plan: '', tool_calls: [], citations: [] }
  yield event('message-start', { id: messageId(exchange), delta: { message: empty } })
  let index = 0
  const blocks = [
    { type: 'thinking', text: answer.reasoning },
    { type: 'text', text: contentOf(answer) },
  ]
  for (const { type, text } of blocks.filter((block) => block.text !== '')) {
    const start = { type, [type]: '' }
    yield event('content-start', { index, delta: { message: { content: start } } })
    for (const piece of splitIntoPieces(text, size)) {
      const delta = { message: { content: { [type]: piece.text } } }
      yield event('content-delta', { index, delta }, piece.tokens, true)
    }
    yield event('content-end', { index })
    index += 1
  }
  for (const piece of splitIntoPieces(planOf(answer), size)) {
    yield event('tool-plan-delta', { delta: { message: { tool_plan: piece.text } } }, piece.tokens, true)
  }
  for (const place of answer.toolCalls.keys()) yield* callEvents(exchange, place, size)
  const delta = {
    finish_reason: finishReasons[answer.finish],
    ...(usage === undefined ? {} : { usage: usageBody(usage) }),
  }
  yield event('message-end', { id: messageId(exchange), delta })
  yield { bytes: 'data: [DONE]\n\n', outputTokens: 0, content: false }
}

function* callEvents(exchange: Exchange, index: number, size: (bound: number) => number): Generator<Frame> {
  const call = wireCall(exchange, index)
  const opening = { ...call, function: { ...call.function, arguments: '' } }
  const start = { index, delta: { message: { tool_calls: opening } } }
  yield event('tool-call-start', start, countTokens(call.function.name), true)
  for (const piece of splitIntoPieces(call.function.arguments, size)) {
    const delta = { message: { tool_calls: { function: { arguments: piece.text } } } }
    yield event('tool-call-delta', { index, delta }, piece.tokens, true)
  }
  yield event('tool-call-end', { index })
}
