import { isObject, type JsonObject, parseJson } from './json.ts'
import type { Prompt, ToolOffer } from './prompt.ts'
import { exampleOf } from './schema-example.ts'
import { numbersFrom, type Seed } from './seed.ts'
import type { Steering } from './steering.ts'
import { countTokens, cutToTokens, repeatToTokens } from './tokens.ts'

export interface Answer {
  readonly reasoning: string
  readonly text: string
  readonly refused: boolean
  readonly toolCalls: readonly { readonly name: string; readonly arguments: string }[]
  readonly finish: 'stop' | 'stop_sequence' | 'length' | 'tool_calls' | 'refusal'
  readonly stopSequence?: string
  readonly reasoningTokens: number
  /** Reasoning included. */
  readonly outputTokens: number
}

const toolCallsMax = 8
const refusalText = "I'm sorry, but I can't help with that request."
const thought = 'The caller wants a simulated answer, so this is simulated thinking, step by step. '
const sentences = [
  'No model was called and no real money moved.',
  'It is the same for the same request, so a test can rely on it.',
  'Swap the test key for a live one to hear from the real model.',
  'Streams, tools and structured output work the same way here.',
  'Steer it with metadata.mesh_simulate to see how failures look.',
]

/**
 * Makes the answer to a prompt, by these rules and in this order:
 * 1. Forced tools (`required`, `any`, or one by name) are called.
 * 2. `echo` and `tokens=` decide the text.
 * 3. Offered tools are called when the user spoke last: every tool whose name the last user text holds, in the order
 *    of the offer, else the first one; only one of them where parallel calls are off.
 * 4. A wish for JSON (by format, or by an instruction that says so) is answered with an example of the schema.
 * 5. Anything else gets a short text that says it is simulated.
 * Stop sequences end the text; the output bound cuts reasoning, then text, then tool arguments.
 */
export function composeAnswer(prompt: Prompt, steering: Steering, seed: Seed): Answer {
  if (steering.fault?.kind === 'empty') return emptyAnswer
  if (steering.fault?.kind === 'refusal' || steering.fault?.kind === 'content_filter')
    return bounded(prompt, { text: refusalText, tools: [], refused: true })
  const forced = prompt.toolUse.kind === 'required' || prompt.toolUse.kind === 'named'
  const steered = steering.echo || steering.tokens !== undefined
  const free = prompt.toolUse.kind === 'free' && prompt.toolResults === 0 && prompt.prefill === ''
  if (prompt.tools.length > 0 && (forced || (free && !steered))) {
    const announcement =
      !forced && prompt.announcesToolCalls ? `Simulated: ${prompt.model} calls a tool.` : ''
    return bounded(prompt, { text: announcement, tools: toolsToCall(prompt), refused: false })
  }
  if (steering.tokens !== undefined) return exactly(prompt, steering.tokens)
  const text = steering.echo ? prompt.lastUserText : (jsonText(prompt) ?? plainText(prompt, seed))
  return bounded(prompt, { text, tools: [], refused: false })
}

const emptyAnswer: Answer = {
  reasoning: '',
  text: '',
  refused: false,
  toolCalls: [],
  finish: 'stop',
  reasoningTokens: 0,
  outputTokens: 0,
}

function plainText(prompt: Prompt, seed: Seed): string {
  const next = numbersFrom(seed)
  const first = next(sentences.length)
  const second = (first + 1 + next(sentences.length - 1)) % sentences.length
  const results = prompt.toolResults > 0 ? ` It has seen ${prompt.toolResults} tool result(s).` : ''
  return `Simulated answer from ${prompt.model}:${results} ${sentences[first] ?? ''} ${sentences[second] ?? ''}`
}

function jsonText(prompt: Prompt): string | undefined {
  const value = jsonValue(prompt)
  if (value === undefined) return undefined
  const text = JSON.stringify(value)
  // What the caller has already put into the assistant's mouth is not said again.
  const said = prompt.prefill.trim()
  return said !== '' && text.startsWith(said) ? text.slice(said.length) : text
}

function jsonValue(prompt: Prompt) {
  if (prompt.format.kind === 'json_schema') return exampleOf(prompt.format.schema)
  const simulated = { simulated: true, model: prompt.model }
  if (prompt.format.kind === 'json_object') return simulated
  const asksForJson =
    /\bJSON\b/i.test(prompt.instructions) && /\b(only|object|schema)\b/i.test(prompt.instructions)
  if (!asksForJson && prompt.prefill.trim() !== '{') return undefined
  const schema = schemaInside(prompt.instructions)
  return schema === undefined ? simulated : exampleOf(schema)
}

/** The first JSON object in a text that looks like a JSON Schema, for those who ask for structure in words. */
function schemaInside(text: string): JsonObject | undefined {
  const attemptsMax = 20
  let from = text.indexOf('{')
  for (let attempt = 0; from >= 0 && attempt < attemptsMax; attempt += 1) {
    const value = parseJson(text.slice(from, endOfObject(text, from)))
    if (isObject(value) && (value.type !== undefined || value.properties !== undefined)) return value
    from = text.indexOf('{', from + 1)
  }
  return undefined
}

function endOfObject(text: string, from: number): number {
  let depth = 0
  let inString = false
  for (let at = from; at < text.length; at += 1) {
    const character = text[at]
    if (character === '\\' && inString) at += 1
    else if (character === '"') inString = !inString
    else if (!inString && character === '{') depth += 1
    else if (!inString && character === '}') {
      depth -= 1
      if (depth === 0) return at + 1
    }
  }
  return text.length
}

function toolsToCall(prompt: Prompt): readonly ToolOffer[] {
  const { toolUse, tools } = prompt
  if (toolUse.kind === 'named') return tools.filter((tool) => tool.name === toolUse.name).slice(0, 1)
  const named = tools.filter((tool) => prompt.lastUserText.includes(tool.name))
  const wanted = named.length > 0 ? named : tools.slice(0, 1)
  return wanted.slice(0, prompt.parallelToolCalls ? toolCallsMax : 1)
}

/** Half reasoning at most, the rest text, so that a tester who asks for 200 tokens is charged for 200. */
function exactly(prompt: Prompt, tokens: number): Answer {
  const start = `Simulated answer from ${prompt.model}, ${tokens} tokens long: `
  const reasoningTokens = Math.min(prompt.reasoningTokens, Math.floor(tokens / 2))
  const text = cutToTokens(start, tokens - reasoningTokens)
  const rest = tokens - reasoningTokens - countTokens(text)
  const filler = rest > 0 ? repeatToTokens('word ', rest) : ''
  return bounded(
    { ...prompt, reasoningTokens, stop: [] },
    { text: padded(text) + filler, tools: [], refused: false },
  )
}

/** Fills the last token, so that appending starts a new one. */
function padded(text: string): string {
  return text + ' '.repeat(countTokens(text) * 4 - Buffer.byteLength(text))
}

interface Draft {
  readonly text: string
  readonly tools: readonly ToolOffer[]
  readonly refused: boolean
}

function bounded(prompt: Prompt, draft: Draft): Answer {
  let left = prompt.outputTokensMax
  const reasoningTokens = Math.min(prompt.reasoningTokens, left)
  left -= reasoningTokens
  const stopped = atStopSequence(draft.text, draft.tools.length === 0 ? prompt.stop : [])
  const text = cutToTokens(stopped.text, left)
  left -= countTokens(text)
  const whole = draft.tools.map((tool) => ({
    name: tool.name,
    arguments: JSON.stringify(exampleOf(tool.schema)),
  }))
  const toolCalls: { name: string; arguments: string }[] = []
  for (const call of whole) {
    const argumentTokensMax = left - countTokens(call.name)
    if (argumentTokensMax <= 0) break
    toolCalls.push({ name: call.name, arguments: cutToTokens(call.arguments, argumentTokensMax) })
    left = argumentTokensMax - countTokens(toolCalls.at(-1)?.arguments ?? '')
  }
  const cut =
    text.length < stopped.text.length ||
    reasoningTokens < prompt.reasoningTokens ||
    toolCalls.length < whole.length ||
    toolCalls.some((call, index) => call.arguments.length < (whole[index]?.arguments.length ?? 0))
  return {
    reasoning: reasoningTokens > 0 ? repeatToTokens(thought, reasoningTokens) : '',
    text,
    refused: draft.refused,
    toolCalls,
    finish: finishOf(draft, cut, stopped.sequence),
    ...(stopped.sequence !== undefined && !cut ? { stopSequence: stopped.sequence } : {}),
    reasoningTokens,
    outputTokens: prompt.outputTokensMax - left,
  }
}

function finishOf(draft: Draft, cut: boolean, sequence: string | undefined): Answer['finish'] {
  if (cut) return 'length'
  if (draft.refused) return 'refusal'
  if (draft.tools.length > 0) return 'tool_calls'
  return sequence === undefined ? 'stop' : 'stop_sequence'
}

function atStopSequence(text: string, stop: readonly string[]): { text: string; sequence?: string } {
  let first: { at: number; sequence: string } | undefined
  for (const sequence of stop) {
    const at = sequence === '' ? -1 : text.indexOf(sequence)
    if (at >= 0 && (first === undefined || at < first.at)) first = { at, sequence }
  }
  return first === undefined ? { text } : { text: text.slice(0, first.at), sequence: first.sequence }
}
