import { utf8Length } from '../text-size.ts'
import { CHAT_BOUNDS } from './bounds.ts'
import { fault, isObject, type RequestFault } from './fault.ts'

/** What of a body is more than a chat completion may hold. */
export type Excess = 'nesting' | 'values' | 'members' | 'parts' | 'text'

/** What a body is like before anything is known of its meaning. */
export type BodyMeasure =
  | { readonly fits: true; readonly wellFormed: boolean }
  | { readonly fits: false; readonly excess: Excess }

/** What a shape can say of a body's content before it has checked anything of it. */
export interface BodyContent {
  /** Parts of all messages together. */
  readonly parts: number
  /** Characters of base64 that stand where media stand. */
  readonly mediaBytes: number
}

/** UTF-8 needs at most this many bytes for one UTF-16 code unit. */
const BYTES_PER_UNIT_MAX = 3

/**
 * Measures a parsed JSON body. It runs before the schema, whose cost and depth of recursion it bounds, and stops at
 * the first thing that is too much: linear in what a body may hold, whatever it holds.
 */
export function measureBody(body: unknown, contentOf: (body: unknown) => BodyContent): BodyMeasure {
  const { partsInAllMax, textBytesMax } = CHAT_BOUNDS
  const { parts, mediaBytes } = contentOf(body)
  if (parts > partsInAllMax) return { fits: false, excess: 'parts' }
  const sizeMax = textBytesMax + mediaBytes
  const tally: Tally = { values: 0, size: 0, sizeMax, sizeOf: ({ length }) => length, wellFormed: true }
  const excess = take(body, 1, tally)
  if (excess) return { fits: false, excess }
  // Code units cost nothing to count. Only where they come near the bound are their bytes counted as well.
  const mayExceed = (tally.size - mediaBytes) * BYTES_PER_UNIT_MAX > textBytesMax
  if (mayExceed && take(body, 1, { ...tally, values: 0, size: 0, sizeOf: utf8Length })) {
    return { fits: false, excess: 'text' }
  }
  return { fits: true, wellFormed: tally.wellFormed }
}

interface Tally {
  values: number
  /** Of all text, media included, as `sizeOf` measures it. */
  size: number
  readonly sizeMax: number
  readonly sizeOf: (text: string) => number
  wellFormed: boolean
}

/** Recursive, and never deeper than `nestingMax`. */
function take(value: unknown, depth: number, tally: Tally): Excess | undefined {
  if (typeof value === 'string') return takeText(value, tally)
  const isList = Array.isArray(value)
  if (!isList && !isObject(value)) return undefined
  if (depth > CHAT_BOUNDS.nestingMax) return 'nesting'
  return isList ? takeList(value, depth, tally) : takeObject(value, depth, tally)
}

function takeList(list: readonly unknown[], depth: number, tally: Tally): Excess | undefined {
  let excess = takeMembers(list.length, tally)
  for (let at = 0; !excess && at < list.length; at++) excess = take(list[at], depth + 1, tally)
  return excess
}

function takeObject(
  object: Readonly<Record<string, unknown>>,
  depth: number,
  tally: Tally,
): Excess | undefined {
  const keys = Object.keys(object)
  const excess = takeMembers(keys.length, tally)
  if (excess) return excess
  for (const key of keys) {
    const inMember = takeText(key, tally) ?? take(object[key], depth + 1, tally)
    if (inMember) return inMember
  }
  return undefined
}

function takeMembers(members: number, tally: Tally): Excess | undefined {
  if (members > CHAT_BOUNDS.membersMax) return 'members'
  tally.values += members
  return tally.values > CHAT_BOUNDS.valuesMax ? 'values' : undefined
}

function takeText(text: string, tally: Tally): Excess | undefined {
  tally.size += tally.sizeOf(text)
  tally.wellFormed &&= text.isWellFormed()
  return tally.size > tally.sizeMax ? 'text' : undefined
}

/** What a body that holds too much is refused with. */
export function excessFault(excess: Excess): RequestFault {
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

/** How many characters of base64 a value comes to that is a text with this beginning. */
export function dataLength(value: unknown, prefix: string): number {
  return typeof value === 'string' && value.startsWith(prefix) ? value.length : 0
}
