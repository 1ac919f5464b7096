import { type FaultPath, fault, isObject, type RequestFault } from '../fault.ts'
import type { BodyMembers } from '../read-body.ts'
import { isOff, type Refusal, refusedOf } from '../refused-parameters.ts'

const NO_HOSTED_TOOLS = 'hosted tools run outside the call. Define a tool of your own instead'

/**
 * What of Anthropic's API MESH refuses because it would store, multiply or outsource a call behind the caller's back,
 * or because no price that is held covers it. Refused before the schema is tried, with what to do instead.
 */
const REFUSED_PARAMETERS: ReadonlyMap<string, Refusal> = new Map<string, Refusal>([
  ['container', { predicate: `is not supported: ${NO_HOSTED_TOOLS}` }],
  ['mcp_servers', { predicate: `is not supported: ${NO_HOSTED_TOOLS}` }],
  [
    'context_management',
    { predicate: 'is not supported: MESH sends the conversation as it is. Shorten it yourself' },
  ],
  [
    'service_tier',
    {
      asks: (value) => value !== 'auto' && value !== 'standard_only',
      predicate: 'must be auto or standard_only: other tiers have prices that the hold does not cover',
    },
  ],
  [
    'speed',
    {
      asks: (value) => value !== 'standard',
      predicate: 'must be standard: other speeds have prices that the hold does not cover',
    },
  ],
  [
    'inference_geo',
    { predicate: 'is not supported: name the providers that may answer in provider.only instead' },
  ],
])

/** `service_tier` and its like have been looked at: what of them is left asks for nothing. */
export const LOOKED_AT_PARAMETERS: ReadonlySet<string> = new Set(REFUSED_PARAMETERS.keys())

export function refusedParameter(body: BodyMembers): RequestFault | undefined {
  return refusedOf(body, REFUSED_PARAMETERS, isOffOrEmpty)
}

/** Anthropic takes what is empty for nothing. */
function isOffOrEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0
  return isOff(value) || (isObject(value) && Object.keys(value).length === 0)
}

export function refusedTool(tool: unknown, path: FaultPath): RequestFault | undefined {
  if (!isObject(tool) || typeof tool.type !== 'string' || tool.type === 'custom') return undefined
  return fault('unsupported_parameter', [...path, 'type'], `must be custom: ${NO_HOSTED_TOOLS}`)
}

/** The blocks that a conversation may hold. */
const BLOCKS: ReadonlySet<string> = new Set([
  'text',
  'image',
  'document',
  'tool_use',
  'tool_result',
  'thinking',
  'redacted_thinking',
])

export function refusedMessage(message: unknown, path: FaultPath): RequestFault | undefined {
  if (!isObject(message) || !Array.isArray(message.content)) return undefined
  return refusedBlock(message.content, [...path, 'content'])
}

/** Looks into the content of tool results too; deeper than that nothing is taken at all. */
function refusedBlock(blocks: readonly unknown[], path: FaultPath): RequestFault | undefined {
  for (const [index, block] of blocks.entries()) {
    if (!isObject(block)) continue
    const at = [...path, index]
    if (typeof block.type === 'string' && !BLOCKS.has(block.type)) {
      const predicate = `must be one of ${[...BLOCKS].join(', ')}: blocks of hosted tools, and of what MESH does not keep, are not supported`
      return fault('unsupported_parameter', [...at, 'type'], predicate)
    }
    if (isObject(block.source) && block.source.type === 'file') {
      const predicate = 'is not supported: MESH keeps no files. Send the file itself, as base64'
      return fault('unsupported_parameter', [...at, 'source', 'type'], predicate)
    }
    if (block.type !== 'tool_result' || !Array.isArray(block.content)) continue
    const inResult = refusedBlock(block.content, [...at, 'content'])
    if (inResult) return inResult
  }
  return undefined
}
