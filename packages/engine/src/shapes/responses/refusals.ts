import { type FaultPath, fault, isObject, type RequestFault } from '../fault.ts'
import type { BodyMembers } from '../read-body.ts'
import { type Refusal, refusedOf } from '../refused-parameters.ts'

const NO_CONVERSATIONS =
  'is not supported: MESH keeps no conversations. Send the earlier turns in input, with store: false'

/**
 * What MESH refuses because it would store, multiply or outsource a call behind the caller's back. Each is said with
 * what to do instead, and refused before the schema is tried.
 */
const REFUSED_PARAMETERS: ReadonlyMap<string, Refusal> = new Map<string, Refusal>([
  ['background', { predicate: 'is not supported: MESH keeps no answers to fetch later. Stream the call' }],
  ['previous_response_id', { predicate: NO_CONVERSATIONS }],
  ['conversation', { predicate: NO_CONVERSATIONS }],
  ['prompt', { predicate: 'is not supported: MESH keeps no prompts. Send it as instructions and input' }],
  [
    'context_management',
    { predicate: 'is not supported: MESH leaves nothing of a conversation out. Shorten it yourself' },
  ],
  [
    'truncation',
    {
      asks: (value) => value !== 'disabled',
      predicate: 'must be disabled: MESH leaves nothing of a conversation out. Shorten it yourself',
    },
  ],
  [
    'moderation',
    { predicate: 'is not supported: it sends the call to a second model. Moderate it yourself' },
  ],
  [
    'service_tier',
    {
      asks: (value) => value !== 'auto' && value !== 'default',
      predicate: 'must be auto or default: other tiers have prices that the hold does not cover',
    },
  ],
])

/** Accepted for the sake of clients that always send them; MESH decides them itself. */
export const LOOKED_AT_PARAMETERS: ReadonlySet<string> = new Set([...REFUSED_PARAMETERS.keys(), 'store'])

export function refusedParameter(body: BodyMembers): RequestFault | undefined {
  return refusedOf(body, REFUSED_PARAMETERS) ?? refusedToolChoice(body.tool_choice)
}

const HOSTED = 'must be function: hosted tools run outside the call. Define a function tool instead'

function refusedToolChoice(choice: unknown): RequestFault | undefined {
  if (!isObject(choice) || typeof choice.type !== 'string') return undefined
  if (choice.type === 'function' || choice.type === 'allowed_tools') return undefined
  return fault('unsupported_parameter', ['tool_choice', 'type'], HOSTED)
}

export function refusedTool(tool: unknown, path: FaultPath): RequestFault | undefined {
  if (!isObject(tool) || typeof tool.type !== 'string' || tool.type === 'function') return undefined
  const predicate =
    tool.type === 'custom'
      ? 'must be function: custom tools are not supported. Define a function with one string parameter'
      : HOSTED
  return fault('unsupported_parameter', [...path, 'type'], predicate)
}

const ITEMS: ReadonlySet<string> = new Set(['message', 'function_call', 'function_call_output', 'reasoning'])

export function refusedItem(item: unknown, path: FaultPath): RequestFault | undefined {
  if (!isObject(item)) return undefined
  const { type = 'message' } = item
  if (type === 'item_reference') {
    const predicate =
      'must not be item_reference: MESH keeps no items. Send the item itself, as clients do that were told store: false'
    return fault('unsupported_parameter', [...path, 'type'], predicate)
  }
  if (typeof type === 'string' && !ITEMS.has(type)) {
    const predicate = `must be one of ${[...ITEMS].join(', ')}: the others are of tools that run outside the call`
    return fault('unsupported_parameter', [...path, 'type'], predicate)
  }
  return refusedParts(item.content, [...path, 'content']) ?? refusedParts(item.output, [...path, 'output'])
}

function refusedParts(parts: unknown, path: FaultPath): RequestFault | undefined {
  if (!Array.isArray(parts)) return undefined
  for (const [index, part] of parts.entries()) {
    if (!isObject(part)) continue
    if (typeof part.file_id === 'string') {
      const predicate = 'is not supported: MESH keeps no files. Send the file itself, or its URL'
      return fault('unsupported_parameter', [...path, index, 'file_id'], predicate)
    }
    if (part.detail === 'original') {
      const predicate = 'must be auto, low or high: what original costs has no bound that MESH could hold'
      return fault('unsupported_parameter', [...path, index, 'detail'], predicate)
    }
  }
  return undefined
}
