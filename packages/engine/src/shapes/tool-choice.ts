import type { Tool, ToolChoice } from '../ask.ts'
import { type FaultPath, fault, type RequestFault } from './fault.ts'

/** Which tools a caller of OpenAI wants, and where in the body it says so. */
export type ToolWish =
  | 'none'
  | 'auto'
  | 'required'
  | { readonly type: 'one'; readonly name: string; readonly nameAt: FaultPath }
  | {
      readonly type: 'some'
      readonly mode: 'auto' | 'required'
      readonly names: readonly string[]
      readonly nameAt: (index: number) => FaultPath
    }

export type ChosenTools =
  | { readonly ok: true; readonly tools: readonly Tool[]; readonly toolChoice?: ToolChoice }
  | RequestFault

/**
 * Settles which tools the model gets and whether it must use one. `allowed_tools` leaves the other tools out of the
 * request: that is the same in every protocol, where OpenAI's own form is known to OpenAI alone.
 */
export function chooseTools(wish: ToolWish | undefined, tools: readonly Tool[]): ChosenTools {
  if (wish === undefined) return { ok: true, tools }
  if (typeof wish === 'string') {
    if (tools.length > 0) return { ok: true, tools, toolChoice: wish }
    if (wish !== 'required') return { ok: true, tools }
    return fault('invalid_request', ['tool_choice'], 'is required, but there are no tools')
  }
  const names = new Set(tools.map(({ name }) => name))
  if (wish.type === 'one') {
    const { name, nameAt } = wish
    return names.has(name) ? { ok: true, tools, toolChoice: { name } } : unknownName(nameAt)
  }
  const unknown = wish.names.findIndex((name) => !names.has(name))
  if (unknown !== -1) return unknownName(wish.nameAt(unknown))
  const allowed = new Set(wish.names)
  return { ok: true, tools: tools.filter(({ name }) => allowed.has(name)), toolChoice: wish.mode }
}

function unknownName(nameAt: FaultPath): RequestFault {
  return fault('invalid_request', ['tool_choice', ...nameAt], 'must be the name of one of tools')
}
