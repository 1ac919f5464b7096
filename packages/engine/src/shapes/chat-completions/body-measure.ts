import { utf8Length } from '../../text-size.ts'
import { CHAT_BOUNDS } from './bounds.ts'
import { isObject } from './refusals.ts'

/** What of a body is more than a chat completion may hold. */
export type Excess = 'nesting' | 'values' | 'members' | 'parts' | 'text'

/** What a body is like before anything is known of its meaning. */
export type BodyMeasure =
  | { readonly fits: true; readonly wellFormed: boolean }
  | { readonly fits: false; readonly excess: Excess }

/** UTF-8 needs at most this many bytes for one UTF-16 code unit. */
const BYTES_PER_UNIT_MAX = 3

/**
 * Measures a parsed JSON body. It runs before the schema, whose cost and depth of recursion it bounds, and stops at
 * the first thing that is too much: linear in what a body may hold, whatever it holds.
 */
export function measureBody(body: unknown): BodyMeasure {
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

/** How many parts the messages have in all, and how many bytes of base64 stand where media stand. */
function contentOf(body: unknown): { readonly parts: number; readonly mediaBytes: number } {
  let parts = 0
  let mediaBytes = 0
  const messages = isObject(body) && Array.isArray(body.messages) ? body.messages : []
  for (const message of messages) {
    if (!isObject(message)) continue
    for (const list of [message.content, message.tool_calls, message.reasoning_details]) {
      if (Array.isArray(list)) parts += list.length
    }
    // So long a list is refused, so what is in it does not count.
    if (!Array.isArray(message.content) || message.content.length > CHAT_BOUNDS.partsMax) continue
    for (const part of message.content) mediaBytes += mediaBytesOf(part)
  }
  return { parts, mediaBytes }
}

function mediaBytesOf(part: unknown): number {
  if (!isObject(part)) return 0
  if (part.type === 'image_url' && isObject(part.image_url)) return dataLength(part.image_url.url, 'data:')
  if (part.type === 'file' && isObject(part.file)) return dataLength(part.file.file_data, 'data:')
  if (part.type === 'input_audio' && isObject(part.input_audio)) return dataLength(part.input_audio.data, '')
  return 0
}

function dataLength(value: unknown, prefix: string): number {
  return typeof value === 'string' && value.startsWith(prefix) ? value.length : 0
}
