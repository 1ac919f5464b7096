import type {
  Ask,
  CacheMark,
  InputPart,
  Message,
  ReasoningRequest,
  ResponseFormat,
  Tool,
  ToolChoice,
} from '../../ask.ts'
import { fault, type RequestFault } from '../fault.ts'
import type { ParseOptions } from '../shape.ts'
import { toCache, toTextParts } from './content.ts'
import type { MessagesParameters } from './schema.ts'

/** Turns valid parameters, with the messages and tools read already, into the engine's form. */
export function toAsk(
  parameters: MessagesParameters,
  messages: readonly Message[],
  tools: readonly Tool[],
  options: ParseOptions,
): Ask {
  const system = toTextParts(parameters.system ?? '')
  const conversation: readonly Message[] =
    system.length === 0 ? messages : [{ role: 'system', parts: system }, ...messages]
  const choice = parameters.tool_choice ?? undefined
  const toolChoice = choice && tools.length > 0 ? toToolChoice(choice) : undefined
  const single = choice !== undefined && choice.type !== 'none' && choice.disable_parallel_tool_use === true
  const reasoning = toReasoning(parameters)
  const responseFormat = toResponseFormat(parameters)
  const endUser = parameters.metadata?.user_id
  return {
    messages: withMark(conversation, toCache(parameters.cache_control).cache),
    tools,
    ...(toolChoice === undefined ? {} : { toolChoice }),
    ...(single ? { parallelToolCalls: false } : {}),
    ...(responseFormat ? { responseFormat } : {}),
    ...(reasoning ? { reasoning } : {}),
    ...(typeof parameters.max_tokens === 'number' ? { maxOutputTokens: parameters.max_tokens } : {}),
    ...(typeof parameters.temperature === 'number' ? { temperature: parameters.temperature } : {}),
    ...(typeof parameters.top_p === 'number' ? { topP: parameters.top_p } : {}),
    ...(typeof parameters.top_k === 'number' ? { topK: parameters.top_k } : {}),
    stop: parameters.stop_sequences ?? [],
    choices: 1,
    extras: {},
    ...(typeof endUser === 'string' ? { endUserHmac: options.pseudonym('end_user', endUser) } : {}),
    stream: parameters.stream === true,
    usageChunk: false,
  }
}

/** A tool must be there where one is named, or where one must be used. */
export function toolChoiceFault(
  { tool_choice: choice }: MessagesParameters,
  tools: readonly Tool[],
): RequestFault | undefined {
  if (choice?.type === 'tool' && !tools.some(({ name }) => name === choice.name)) {
    return fault('invalid_request', ['tool_choice', 'name'], 'must be the name of one of tools')
  }
  if (choice?.type === 'any' && tools.length === 0) {
    return fault('invalid_request', ['tool_choice'], 'is any, but there are no tools')
  }
  return undefined
}

function toToolChoice(choice: NonNullable<MessagesParameters['tool_choice']>): ToolChoice {
  switch (choice.type) {
    case 'any':
      return 'required'
    case 'tool':
      return { name: choice.name }
    default:
      return choice.type
  }
}

/** What adaptive thinking does where no effort is named: https://platform.claude.com/docs/en/build-with-claude/effort */
const DEFAULT_EFFORT = 'high'

function toReasoning({ thinking, output_config: config }: MessagesParameters): ReasoningRequest | undefined {
  const effort = config?.effort ?? undefined
  if (!thinking) return effort === undefined ? undefined : { effort, effortOnly: true }
  if (thinking.type === 'disabled') return { effort: 'none' }
  const exclude = thinking.display === 'omitted' ? { exclude: true } : {}
  if (thinking.type === 'adaptive') return { effort: effort ?? DEFAULT_EFFORT, ...exclude }
  return { ...(effort === undefined ? {} : { effort }), maxTokens: thinking.budget_tokens, ...exclude }
}

/** Anthropic's schemas have no name, which others want. */
function toResponseFormat({
  output_config: config,
  output_format: earlier,
}: MessagesParameters): ResponseFormat | undefined {
  const format = config?.format ?? earlier
  return format ? { type: 'json_schema', name: 'answer', schema: format.schema, strict: true } : undefined
}

/** Marks the end of the whole prompt: the last part that can bear a mark. */
function withMark(messages: readonly Message[], cache: CacheMark | undefined): readonly Message[] {
  const last = messages.at(-1)
  if (cache === undefined || last === undefined) return messages
  return [...messages.slice(0, -1), markedMessage(last, cache)]
}

function markedMessage(message: Message, cache: CacheMark): Message {
  switch (message.role) {
    case 'user':
    case 'tool':
      return { ...message, parts: withMarkedEnd(message.parts, cache) }
    case 'assistant':
      return message.toolCalls.length > 0
        ? { ...message, toolCalls: withMarkedEnd(message.toolCalls, cache) }
        : { ...message, parts: withMarkedEnd(message.parts, cache) }
    case 'system':
    case 'developer':
      return { ...message, parts: withMarkedEnd(message.parts, cache) }
  }
}

function withMarkedEnd<Part extends InputPart | { readonly cache?: CacheMark }>(
  parts: readonly Part[],
  cache: CacheMark,
): readonly Part[] {
  const last = parts.at(-1)
  return last === undefined ? parts : [...parts.slice(0, -1), { cache, ...last }]
}
