import type { Json, JsonObject } from '../../ask.ts'
import type { FinishReason, StreamEvent } from '../../stream-event.ts'
import { type ReplyClosing, type ReplyInfo, reasoningFormat, type WholeReply } from '../reply.ts'
import { type ToolCallIdentities, type ToolCallIdentity, toolCallIdentities } from '../tool-call-identity.ts'
import { renderUsage } from './reply.ts'

interface ReasoningDetails {
  text: string
  signature?: string
  redacted?: string
}

interface Choice {
  readonly tools: ToolCallIdentities
  readonly calls: { readonly identity: ToolCallIdentity; arguments: string }[]
  readonly reasoning: ReasoningDetails[]
  readonly logprobs: Json[]
  /** Whether the last block of `reasoning` is still being written. */
  reasoningOpen: boolean
  hasLogprobs: boolean
  text: string
  refusal: string
  finishReason?: FinishReason
}

/** An answer as a chat completion in one piece. */
export function createJsonReply(info: ReplyInfo): WholeReply {
  const choices = new Map<number, Choice>()

  function choiceAt(index: number): Choice {
    const known = choices.get(index)
    if (known) return known
    const choice: Choice = {
      tools: toolCallIdentities(info.id, index),
      calls: [],
      reasoning: [],
      logprobs: [],
      reasoningOpen: false,
      hasLogprobs: false,
      text: '',
      refusal: '',
    }
    choices.set(index, choice)
    return choice
  }

  function finish(closing: ReplyClosing): string {
    choiceAt(0)
    const format = reasoningFormat(info)
    const ordered = [...choices].sort(([left], [right]) => left - right)
    const rendered = ordered.map(([index, choice]) => ({
      index,
      message: renderMessage(choice, info.excludeReasoning, format),
      logprobs: choice.hasLogprobs ? { content: choice.logprobs, refusal: null } : null,
      finish_reason: choice.finishReason ?? closing.finishReason,
    }))
    const body = JSON.stringify({
      id: info.id,
      object: 'chat.completion',
      created: info.createdSeconds,
      model: info.served?.model ?? null,
      provider: info.served?.provider ?? null,
      system_fingerprint: null,
      choices: rendered,
      routing: closing.routing,
    })
    return `${body.slice(0, -1)},"usage":${renderUsage(closing.usage)}}`
  }

  return {
    event(event) {
      if ('choice' in event) addEvent(choiceAt(event.choice), event)
    },
    finish,
  }
}

type ChoiceEvent = Extract<StreamEvent, { readonly choice: number }>

function addEvent(choice: Choice, event: ChoiceEvent): void {
  switch (event.type) {
    case 'text':
      choice.text += event.text
      if (event.logprobs !== undefined) addLogprobs(choice, event.logprobs)
      return
    case 'refusal':
      choice.refusal += event.text
      return
    case 'reasoning':
      openBlock(choice).text += event.text
      return
    case 'reasoning-end':
      endBlock(choice, event)
      return
    case 'tool-call': {
      const { call, isNew } = choice.tools.open(event.index, event.id, event.name, event.signature)
      if (isNew) choice.calls.push({ identity: call, arguments: '' })
      return
    }
    case 'tool-arguments': {
      const position = choice.tools.find(event.index)?.index
      const call = position === undefined ? undefined : choice.calls[position]
      if (call) call.arguments += event.fragment
      return
    }
    case 'finish':
      choice.finishReason = event.reason
  }
}

function openBlock(choice: Choice): ReasoningDetails {
  const last = choice.reasoning.at(-1)
  if (choice.reasoningOpen && last) return last
  const block: ReasoningDetails = { text: '' }
  choice.reasoning.push(block)
  choice.reasoningOpen = true
  return block
}

function endBlock(choice: Choice, end: { readonly signature?: string; readonly redacted?: string }): void {
  const block = openBlock(choice)
  choice.reasoningOpen = false
  if (end.signature !== undefined) block.signature = end.signature
  if (end.redacted !== undefined) block.redacted = end.redacted
}

/** OpenAI's form, `{content: […]}`: the lists of a stream's chunks make up the whole. */
function addLogprobs(choice: Choice, logprobs: Json): void {
  choice.hasLogprobs = true
  if (typeof logprobs !== 'object' || logprobs === null || !('content' in logprobs)) return
  if (Array.isArray(logprobs.content)) for (const entry of logprobs.content) choice.logprobs.push(entry)
}

function renderMessage(choice: Choice, excludeReasoning: boolean, format: string): JsonObject {
  const hasOther = choice.calls.length > 0 || choice.refusal !== ''
  const reasoning = excludeReasoning ? '' : choice.reasoning.map((block) => block.text).join('')
  const details = excludeReasoning
    ? []
    : choice.reasoning.flatMap((block, index) => renderBlock(block, format, index))
  return {
    role: 'assistant',
    content: choice.text === '' && hasOther ? null : choice.text,
    refusal: choice.refusal === '' ? null : choice.refusal,
    ...(reasoning === '' ? {} : { reasoning }),
    ...(details.length === 0 ? {} : { reasoning_details: details }),
    ...(choice.calls.length === 0 ? {} : { tool_calls: choice.calls.map(renderToolCall) }),
  }
}

function renderToolCall({ identity, arguments: written }: Choice['calls'][number]): JsonObject {
  return { id: identity.id, type: 'function', function: { name: identity.name, arguments: written } }
}

function renderBlock(block: ReasoningDetails, format: string, index: number): readonly JsonObject[] {
  const details: JsonObject[] = []
  if (block.text !== '' || block.signature !== undefined) {
    const signature = block.signature === undefined ? {} : { signature: block.signature }
    details.push({ type: 'reasoning.text', text: block.text, ...signature, format, index })
  }
  if (block.redacted !== undefined) {
    details.push({ type: 'reasoning.encrypted', data: block.redacted, format, index })
  }
  return details
}
