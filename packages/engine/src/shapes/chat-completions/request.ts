import type { Ask, AskShape, InputBound, Message, PrivacyRequest, RouteRequest, Tool } from '../../ask.ts'
import { boundInput } from '../../input-bound.ts'
import { type Excess, measureBody } from './body-measure.ts'
import { CHAT_BOUNDS } from './bounds.ts'
import { fault, faultOfIssue, type RequestFault } from './fault.ts'
import { toMessage, toTool } from './messages.ts'
import { type ParseOptions, toAsk } from './parameters.ts'
import { IGNORED_PARAMETERS, isObject, refusedMessage, refusedParameter, refusedTool } from './refusals.ts'
import { toRoute } from './route.ts'
import { type ChatParameters, chatMessage, chatParameters, chatTool, providerPreferences } from './schema.ts'
import { chooseTools } from './tool-choice.ts'
import { withoutLoneSurrogates } from './well-formed.ts'

/** A chat completion as it was asked for, in the engine's own terms. */
export interface ChatRequest {
  readonly ask: Ask
  readonly shape: AskShape
  readonly route: RouteRequest
  readonly privacy: PrivacyRequest
  readonly metadata: Readonly<Record<string, string>>
  /** Parameters that MESH does not take, by names that are safe to show: for `routing.dropped_params`. */
  readonly droppedParameters: readonly string[]
  /** How many more there were, whose names are not shown. */
  readonly droppedUnnamed: number
}

export type ParsedRequest = { readonly ok: true; readonly request: ChatRequest } | RequestFault

const SHOWABLE_NAME = /^[a-zA-Z0-9_.-]{1,64}$/

/**
 * Reads the JSON body of `POST /v1/chat/completions`. Pure, linear in the body's size, and safe on any parsed JSON.
 * A fault is a 400; its message says what to do and holds nothing of the request.
 */
export function parseChatCompletion(body: unknown, options: ParseOptions): ParsedRequest {
  const measure = measureBody(body)
  if (!measure.fits) return tooMuch(measure.excess)
  const whole = measure.wellFormed ? body : withoutLoneSurrogates(body)
  if (!isObject(whole)) return fault('invalid_request', [], 'must be a JSON object')
  const refused = refusedParameter(whole)
  if (refused) return refused
  const parameters = chatParameters.safeParse(whole)
  if (!parameters.success) return faultOfIssue(parameters.error, [])
  const messages = parseMessages(whole.messages)
  if (!messages.ok) return messages
  const tools = parseTools(whole.tools)
  if (!tools.ok) return tools
  return assemble(whole, parameters.data, messages.items, tools.items, options)
}

type Parsed<Item> = { readonly ok: true; readonly items: readonly Item[] } | RequestFault

/** One message at a time, so that a hostile list costs no more than its first bad member. */
function parseMessages(messages: unknown): Parsed<Message> {
  if (!Array.isArray(messages)) return fault('invalid_request', ['messages'], 'must be an array of messages')
  if (messages.length === 0) return fault('invalid_request', ['messages'], 'must have at least 1 item')
  if (messages.length > CHAT_BOUNDS.messagesMax) {
    return fault('invalid_request', ['messages'], `must have at most ${CHAT_BOUNDS.messagesMax} items`)
  }
  const items: Message[] = []
  for (const [index, message] of messages.entries()) {
    const path = ['messages', index]
    const refused = refusedMessage(message, path)
    if (refused) return refused
    const parsed = chatMessage.safeParse(message)
    if (!parsed.success) return faultOfIssue(parsed.error, path)
    items.push(toMessage(parsed.data))
  }
  return { ok: true, items }
}

function parseTools(tools: unknown): Parsed<Tool> {
  if (tools === undefined || tools === null) return { ok: true, items: [] }
  if (!Array.isArray(tools)) return fault('invalid_request', ['tools'], 'must be an array of tools')
  if (tools.length > CHAT_BOUNDS.toolsMax) {
    return fault('invalid_request', ['tools'], `must have at most ${CHAT_BOUNDS.toolsMax} items`)
  }
  const items: Tool[] = []
  const names = new Set<string>()
  for (const [index, tool] of tools.entries()) {
    const path = ['tools', index]
    const refused = refusedTool(tool, path)
    if (refused) return refused
    const parsed = chatTool.safeParse(tool)
    if (!parsed.success) return faultOfIssue(parsed.error, path)
    const item = toTool(parsed.data)
    if (names.has(item.name)) {
      return fault('invalid_request', [...path, 'function', 'name'], 'is used by an earlier tool too')
    }
    names.add(item.name)
    items.push(item)
  }
  return { ok: true, items }
}

function assemble(
  body: Readonly<Record<string, unknown>>,
  parameters: ChatParameters,
  messages: readonly Message[],
  tools: readonly Tool[],
  options: ParseOptions,
): ParsedRequest {
  const chosen = chooseTools(parameters, tools)
  if (!chosen.ok) return chosen
  const models = modelsAsked(parameters)
  if (models.length === 0) {
    return parameters.route === 'auto'
      ? fault('invalid_request', ['model'], 'must be named: this version of MESH does not choose one')
      : fault('invalid_request', ['model'], 'is required: name a model')
  }
  const ask = toAsk(parameters, messages, chosen, options)
  const bound = boundInput(ask)
  const tooManyMedia = mediaFault(bound)
  if (tooManyMedia) return tooManyMedia
  const route = toRoute(parameters, models, (id) => options.pseudonym('session', id))
  const dropped = droppedNames(body, parameters)
  if (route.requireParameters && dropped.named.length + dropped.unnamed > 0) {
    return fault(
      'unsupported_parameter',
      ['provider', 'require_parameters'],
      'is true, and the request has parameters that MESH does not take: leave them out, or set it to false',
    )
  }
  const privacy = parameters.privacy
  return {
    ok: true,
    request: {
      ask,
      shape: toShape(ask, bound),
      route,
      privacy: {
        mode: privacy?.mode ?? 'standard',
        ...(privacy?.min_class ? { minClass: privacy.min_class } : {}),
        padding: privacy?.padding ?? 'off',
      },
      metadata: parameters.metadata ?? {},
      droppedParameters: dropped.named,
      droppedUnnamed: dropped.unnamed,
    },
  }
}

/** The first choice first. */
function modelsAsked(parameters: ChatParameters): readonly string[] {
  const named = [parameters.model, ...(parameters.models ?? [])].filter((name) => typeof name === 'string')
  return [...new Set(named)]
}

function toShape(ask: Ask, bound: InputBound): AskShape {
  return {
    inputTokensBound: bound,
    ...(ask.maxOutputTokens === undefined ? {} : { maxOutputTokens: ask.maxOutputTokens }),
    choices: ask.choices,
    modalities: { image: bound.images > 0, file: bound.files > 0, audio: bound.audioSeconds > 0 },
    parameters: parametersUsed(ask),
  }
}

/** In the catalogue's words. A parameter that asks for the default asks for nothing. */
function parametersUsed(ask: Ask): readonly string[] {
  const format = ask.responseFormat?.type ?? 'text'
  const { effort = 'none', maxTokens = 0 } = ask.reasoning ?? {}
  const reasons = effort !== 'none' || maxTokens > 0
  const used: readonly (readonly [name: string, used: boolean])[] = [
    ['max_tokens', ask.maxOutputTokens !== undefined],
    ['stop', ask.stop.length > 0],
    ['stream', ask.stream],
    ['temperature', ask.temperature !== undefined],
    ['top_p', ask.topP !== undefined],
    ['top_k', ask.topK !== undefined],
    ['n', ask.choices > 1],
    ['tools', ask.tools.length > 0],
    ['tool_choice', ask.toolChoice !== undefined && ask.toolChoice !== 'auto'],
    ['parallel_tool_calls', ask.parallelToolCalls === false],
    [`response_format.${format}`, format !== 'text'],
    ['reasoning', reasons],
  ]
  return [...used.filter(([, isUsed]) => isUsed).map(([name]) => name), ...Object.keys(ask.extras)]
}

function mediaFault(bound: InputBound): RequestFault | undefined {
  const { imagesMax, filesMax } = CHAT_BOUNDS
  if (bound.images > imagesMax) {
    return fault('invalid_request', ['messages'], `must have at most ${imagesMax} images`)
  }
  if (bound.files > filesMax) {
    return fault('invalid_request', ['messages'], `must have at most ${filesMax} files`)
  }
  return undefined
}

function droppedNames(
  body: Readonly<Record<string, unknown>>,
  parameters: ChatParameters,
): { named: readonly string[]; unnamed: number } {
  const provider = isObject(body.provider) ? body.provider : {}
  const dropped = [
    ...withoutEffect(parameters),
    ...Object.keys(body).filter(
      (name) =>
        !Object.hasOwn(chatParameters.shape, name) &&
        !IGNORED_PARAMETERS.has(name) &&
        name !== 'messages' &&
        name !== 'tools',
    ),
    ...Object.keys(provider)
      .filter((name) => !Object.hasOwn(providerPreferences.shape, name))
      .map((name) => `provider.${name}`),
  ]
  const named = dropped
    .filter((name) => SHOWABLE_NAME.test(name))
    .slice(0, CHAT_BOUNDS.droppedParametersNamedMax)
  return { named, unnamed: dropped.length - named.length }
}

/** What MESH knows and checks, and this version does not act on. Endpoints are always ordered by price. */
function withoutEffect({ provider, session_id }: ChatParameters): readonly string[] {
  const sorts = typeof provider?.sort === 'string' && provider.sort !== 'price'
  return [...(sorts ? ['provider.sort'] : []), ...(typeof session_id === 'string' ? ['session_id'] : [])]
}

function tooMuch(excess: Excess): RequestFault {
  const { nestingMax, valuesMax, membersMax, partsInAllMax, textBytesMax } = CHAT_BOUNDS
  switch (excess) {
    case 'nesting':
      return fault('invalid_request', [], `must be nested at most ${nestingMax} levels deep`)
    case 'values':
      return fault('invalid_request', [], `must have at most ${valuesMax} values in all`)
    case 'members':
      return fault('invalid_request', [], `must have at most ${membersMax} members in any array or object`)
    case 'parts':
      return fault('invalid_request', ['messages'], `must have at most ${partsInAllMax} parts in all`)
    case 'text':
      return fault(
        'invalid_request',
        [],
        `must have at most ${textBytesMax} bytes of text in all: no model can read more`,
      )
  }
}
