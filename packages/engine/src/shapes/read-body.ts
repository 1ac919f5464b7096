import type * as z from 'zod'
import type { Tool } from '../ask.ts'
import { type BodyContent, excessFault, measureBody } from './body-measure.ts'
import { CHAT_BOUNDS } from './bounds.ts'
import { type FaultPath, fault, faultOfIssue, isObject, type RequestFault } from './fault.ts'
import { withoutLoneSurrogates } from './well-formed.ts'

/*
 * How every shape reads a body. Pure, linear in the body's size, and safe on any parsed JSON. A fault is a 400; its
 * message says what to do and holds nothing of the request.
 */

/** What reading a part of a body comes to. */
export type Read<Value> = { readonly ok: true; readonly value: Value } | RequestFault

export type BodyMembers = Readonly<Record<string, unknown>>

/** Reads a body as an object that is no larger than a call may be, and whose texts are well formed. */
export function readObject(body: unknown, contentOf: (body: unknown) => BodyContent): Read<BodyMembers> {
  const measure = measureBody(body, contentOf)
  if (!measure.fits) return excessFault(measure.excess)
  const whole = measure.wellFormed ? body : withoutLoneSurrogates(body)
  return isObject(whole) ? { ok: true, value: whole } : fault('invalid_request', [], 'must be a JSON object')
}

interface ParametersReader<Schema extends z.ZodType> {
  readonly contentOf: (body: unknown) => BodyContent
  /** What MESH refuses whatever its form: looked at first, so that the caller is told this and not of some form. */
  readonly refused: (body: BodyMembers) => RequestFault | undefined
  /** Of everything but the lists, which are read member by member. */
  readonly parameters: Schema
}

/** Reads everything of a body but its lists. */
export function readParameters<Schema extends z.ZodType>(
  body: unknown,
  { contentOf, refused, parameters }: ParametersReader<Schema>,
): Read<{ readonly members: BodyMembers; readonly parameters: z.output<Schema> }> {
  const whole = readObject(body, contentOf)
  if (!whole.ok) return whole
  const refusal = refused(whole.value)
  if (refusal) return refusal
  const parsed = parameters.safeParse(whole.value)
  if (!parsed.success) return faultOfIssue(parsed.error, [])
  return { ok: true, value: { members: whole.value, parameters: parsed.data } }
}

interface ListReader<Schema extends z.ZodType> {
  readonly refused: (member: unknown, path: FaultPath) => RequestFault | undefined
  readonly schemaOf: (member: unknown) => Schema
}

/** Reads a list one member at a time, so that a hostile one costs no more than its first bad member. */
function readList<Schema extends z.ZodType>(
  list: readonly unknown[],
  name: string,
  { refused, schemaOf }: ListReader<Schema>,
): Read<readonly z.output<Schema>[]> {
  const members: z.output<Schema>[] = []
  for (const [index, member] of list.entries()) {
    const path = [name, index]
    const refusal = refused(member, path)
    if (refusal) return refusal
    const parsed = schemaOf(member).safeParse(member)
    if (!parsed.success) return faultOfIssue(parsed.error, path)
    members.push(parsed.data)
  }
  return { ok: true, value: members }
}

/** Reads what is said: a list that says something, and not too much. `expected` is what stands in place of another form. */
export function readTurns<Schema extends z.ZodType>(
  turns: unknown,
  name: string,
  expected: string,
  reader: ListReader<Schema>,
): Read<readonly z.output<Schema>[]> {
  const { messagesMax } = CHAT_BOUNDS
  if (!Array.isArray(turns)) return fault('invalid_request', [name], `must be ${expected}`)
  if (turns.length === 0) return fault('invalid_request', [name], 'must have at least 1 item')
  if (turns.length > messagesMax) {
    return fault('invalid_request', [name], `must have at most ${messagesMax} items`)
  }
  return readList(turns, name, reader)
}

interface ToolsReader<Schema extends z.ZodType> {
  readonly refused: (tool: unknown, path: FaultPath) => RequestFault | undefined
  readonly schema: Schema
  readonly toTool: (tool: z.output<Schema>) => Tool
  /** Where a tool has its name. */
  readonly nameAt: FaultPath
}

/** Reads `tools`: as many as may be, each with a name of its own. */
export function readTools<Schema extends z.ZodType>(
  tools: unknown,
  { refused, schema, toTool, nameAt }: ToolsReader<Schema>,
): Read<readonly Tool[]> {
  const { toolsMax } = CHAT_BOUNDS
  if (tools === undefined || tools === null) return { ok: true, value: [] }
  if (!Array.isArray(tools)) return fault('invalid_request', ['tools'], 'must be an array of tools')
  if (tools.length > toolsMax) {
    return fault('invalid_request', ['tools'], `must have at most ${toolsMax} items`)
  }
  const read = readList(tools, 'tools', { refused, schemaOf: () => schema })
  if (!read.ok) return read
  const value = read.value.map(toTool)
  const names = new Set<string>()
  for (const [index, { name }] of value.entries()) {
    if (names.has(name)) {
      return fault('invalid_request', ['tools', index, ...nameAt], 'is used by an earlier tool too')
    }
    names.add(name)
  }
  return { ok: true, value }
}
