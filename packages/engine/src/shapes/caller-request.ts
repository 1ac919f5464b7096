import type { Ask, AskShape, InputBound, Message, ReasoningRequest } from '../ask.ts'
import { boundInput } from '../input-bound.ts'
import { CHAT_BOUNDS } from './bounds.ts'
import { type Extensions, modelsAsked, providerPreferences, toPrivacy, toRoute } from './extensions.ts'
import { fault, isObject, type RequestFault } from './fault.ts'
import type { ParsedRequest, ParseOptions } from './shape.ts'

/** What a shape has read of a chat call, before it is put together. */
export interface ReadChat {
  readonly ask: Ask
  readonly extensions: Extensions
  readonly metadata: Readonly<Record<string, string>>
  /** The body as it came, and whether one of its members is read or passed over on purpose. */
  readonly body: Readonly<Record<string, unknown>>
  readonly knows: (member: string) => boolean
  /** Further parameters that were read and are not acted on. */
  readonly dropped?: readonly string[]
}

const SHOWABLE_NAME = /^[a-zA-Z0-9_.-]{1,64}$/

/** Puts a chat call together: its bounds, its route, its privacy, and what of it MESH does not take. */
export function chatRequest(read: ReadChat, options: ParseOptions): ParsedRequest {
  const { ask, extensions } = read
  const models = modelsAsked(extensions)
  if (models.length === 0) {
    return fault('invalid_request', ['model'], 'is required: name a model, or auto to have one chosen')
  }
  const bound = boundInput(ask)
  const tooManyMedia = mediaFault(bound)
  if (tooManyMedia) return tooManyMedia
  const route = toRoute(extensions, models, (id) => options.pseudonym('session', id))
  const dropped = droppedNames(read)
  if (route.requireParameters && dropped.named.length + dropped.unnamed > 0) {
    return fault(
      'unsupported_parameter',
      ['provider', 'require_parameters'],
      'is true, and the request has parameters that MESH does not take: leave them out, or set it to false',
    )
  }
  return {
    ok: true,
    request: {
      ask,
      shape: toShape(ask, bound),
      route,
      privacy: toPrivacy(extensions.privacy),
      metadata: read.metadata,
      droppedParameters: dropped.named,
      droppedUnnamed: dropped.unnamed,
    },
  }
}

function toShape(ask: Ask, bound: InputBound): AskShape {
  const needs = needsOf(ask)
  return {
    inputTokensBound: bound,
    ...(ask.maxOutputTokens === undefined ? {} : { maxOutputTokens: ask.maxOutputTokens }),
    choices: ask.choices,
    modalities: {
      image: bound.images > 0,
      file: bound.files > 0,
      audio: bound.audioSeconds > 0,
      ...(namesMediaByUrl(ask) ? { mediaUrl: true } : {}),
      ...(ask.messages.some(namesFileByUrl) ? { fileUrl: true } : {}),
    },
    parameters: [...parametersUsed(ask), ...needs],
    ...(needs.length > 0 ? { needs } : {}),
    ...(ask.reasoning ? { reasoning: thinkingAsked(ask.reasoning) } : {}),
  }
}

function namesMediaByUrl({ messages }: Ask): boolean {
  return messages.some(({ parts }) =>
    parts.some((part) => (part.type === 'image' || part.type === 'file') && part.source.kind === 'url'),
  )
}

function thinkingAsked({ effort, maxTokens }: ReasoningRequest): NonNullable<AskShape['reasoning']> {
  return { ...(effort === undefined ? {} : { effort }), ...(maxTokens === undefined ? {} : { maxTokens }) }
}

/** What an endpoint must take to be asked for vectors or scores at all. */
function needsOf({ task }: Ask): readonly string[] {
  if (task?.type !== 'embed') return []
  const { inputs, dimensions } = task
  return [
    ...(dimensions === undefined ? [] : ['dimensions']),
    ...(inputs.every((text) => typeof text === 'string') ? [] : ['input.tokens']),
    `input.${inputs.length}_texts`,
  ]
}

function namesFileByUrl({ parts }: Message): boolean {
  return parts.some((part) => part.type === 'file' && part.source.kind === 'url')
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

function droppedNames({ body, knows, dropped = [] }: ReadChat): {
  readonly named: readonly string[]
  readonly unnamed: number
} {
  const provider = isObject(body.provider) ? body.provider : {}
  const all = [
    ...dropped,
    ...Object.keys(body).filter((member) => !knows(member)),
    ...Object.keys(provider)
      .filter((name) => !Object.hasOwn(providerPreferences.shape, name))
      .map((name) => `provider.${name}`),
  ]
  const named = all.filter((name) => SHOWABLE_NAME.test(name)).slice(0, CHAT_BOUNDS.droppedParametersNamedMax)
  return { named, unnamed: all.length - named.length }
}
