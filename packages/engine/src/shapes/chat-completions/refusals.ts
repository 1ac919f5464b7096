import { type FaultPath, fault, isObject, type RequestFault } from '../fault.ts'
import type { BodyMembers } from '../read-body.ts'
import { type Refusal, refusedOf } from '../refused-parameters.ts'

/**
 * What MESH refuses because it would store, multiply or outsource a call behind the caller's back, or because it
 * cannot be served the same by every provider. Each is said with what to do instead, and refused before the schema
 * is tried, so that the caller is told this rather than that some field has the wrong form.
 */
export const REFUSED_PARAMETERS: ReadonlyMap<string, Refusal> = new Map<string, Refusal>([
  ['background', { predicate: 'is not supported: MESH keeps no answers to fetch later. Stream the call' }],
  [
    'previous_response_id',
    { predicate: 'is not supported: MESH keeps no conversations. Send the earlier turns in messages' },
  ],
  [
    'conversation',
    { predicate: 'is not supported: MESH keeps no conversations. Send the earlier turns in messages' },
  ],
  [
    'web_search_options',
    { predicate: 'is not supported: hosted tools run outside the call. Define a function tool and search' },
  ],
  [
    'plugins',
    {
      asks: (value) => !(Array.isArray(value) && value.length === 0),
      predicate: 'is not supported: hosted tools run outside the call. Define a function tool instead',
    },
  ],
  [
    'prediction',
    { predicate: 'is not supported: rejected predictions are billed beyond the answer. Leave it out' },
  ],
  [
    'moderation',
    { predicate: 'is not supported: it sends the call to a second model. Moderate it yourself' },
  ],
  ['audio', { predicate: 'is not supported: answers are text. Leave it out' }],
  [
    'modalities',
    {
      asks: (value) => !(Array.isArray(value) && value.every((modality) => modality === 'text')),
      predicate: 'must be ["text"]: answers are text',
    },
  ],
  [
    'service_tier',
    {
      asks: (value) => value !== 'auto' && value !== 'default',
      predicate: 'must be auto or default: other tiers have prices that the hold does not cover',
    },
  ],
  ['functions', { predicate: 'is not supported: it is the old form of tools. Use tools' }],
  ['function_call', { predicate: 'is not supported: it is the old form of tool_choice. Use tool_choice' }],
])

/** Accepted for the sake of clients that always send them; MESH decides them itself. */
export const IGNORED_PARAMETERS: ReadonlySet<string> = new Set([...REFUSED_PARAMETERS.keys(), 'store'])

export function refusedParameter(body: BodyMembers): RequestFault | undefined {
  return refusedOf(body, REFUSED_PARAMETERS)
}

export function refusedTool(tool: unknown, path: FaultPath): RequestFault | undefined {
  if (!isObject(tool) || typeof tool.type !== 'string' || tool.type === 'function') return undefined
  const predicate =
    tool.type === 'custom'
      ? 'must be function: custom tools are not supported. Define a function with one string parameter'
      : 'must be function: hosted tools run outside the call. Define a function tool instead'
  return fault('unsupported_parameter', [...path, 'type'], predicate)
}

export function refusedMessage(message: unknown, path: FaultPath): RequestFault | undefined {
  if (!isObject(message)) return undefined
  if (message.role === 'function') {
    const predicate = 'must not be function: it is the old form of tool. Use role tool with tool_call_id'
    return fault('unsupported_parameter', [...path, 'role'], predicate)
  }
  if (isObject(message.function_call)) {
    const predicate = 'is not supported: it is the old form of tool_calls. Use tool_calls'
    return fault('unsupported_parameter', [...path, 'function_call'], predicate)
  }
  if (isObject(message.audio)) {
    const predicate = 'is not supported: MESH keeps no audio answers. Send the transcript as content'
    return fault('unsupported_parameter', [...path, 'audio'], predicate)
  }
  if (Array.isArray(message.tool_calls)) {
    const index = message.tool_calls.findIndex((call) => isObject(call) && call.type === 'custom')
    if (index !== -1) {
      const predicate = 'must be function: custom tools are not supported'
      return fault('unsupported_parameter', [...path, 'tool_calls', index, 'type'], predicate)
    }
  }
  return Array.isArray(message.content) ? refusedPart(message.content, [...path, 'content']) : undefined
}

function refusedPart(parts: readonly unknown[], path: FaultPath): RequestFault | undefined {
  for (const [index, part] of parts.entries()) {
    if (!isObject(part)) continue
    if (isObject(part.file) && typeof part.file.file_id === 'string') {
      const predicate = 'is not supported: MESH keeps no files. Send the file itself in file_data'
      return fault('unsupported_parameter', [...path, index, 'file', 'file_id'], predicate)
    }
    if (isObject(part.image_url) && part.image_url.detail === 'original') {
      const predicate = 'must be auto, low or high: what original costs has no bound that MESH could hold'
      return fault('unsupported_parameter', [...path, index, 'image_url', 'detail'], predicate)
    }
  }
  return undefined
}
