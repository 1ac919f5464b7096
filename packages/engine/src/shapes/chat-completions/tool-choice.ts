import type { Tool, ToolChoice } from '../../ask.ts'
import { fault, type RequestFault } from '../fault.ts'
import type { ChatParameters } from './schema.ts'

type ChosenTools =
  | { readonly ok: true; readonly tools: readonly Tool[]; readonly toolChoice?: ToolChoice }
  | RequestFault

/**
 * Settles which tools the model gets and whether it must use one. `allowed_tools` leaves the other tools out of the
 * request: that is the same in every protocol, where OpenAI's own form is known to OpenAI alone.
 */
export function chooseTools(parameters: ChatParameters, tools: readonly Tool[]): ChosenTools {
  const choice = parameters.tool_choice ?? undefined
  if (choice === undefined) return { ok: true, tools }
  if (typeof choice === 'string') {
    if (tools.length > 0) return { ok: true, tools, toolChoice: choice }
    if (choice === 'required')
      return fault('invalid_request', ['tool_choice'], 'is required, but there are no tools')
    return { ok: true, tools }
  }
  const names = new Set(tools.map((tool) => tool.name))
  if (choice.type === 'function') {
    const { name } = choice.function
    if (names.has(name)) return { ok: true, tools, toolChoice: { name } }
    return fault('invalid_request', ['tool_choice', 'function', 'name'], 'must be the name of one of tools')
  }
  const { mode, tools: listed } = choice.allowed_tools
  const unknown = listed.findIndex((tool) => !names.has(tool.function.name))
  if (unknown !== -1) {
    const path = ['tool_choice', 'allowed_tools', 'tools', unknown, 'function', 'name']
    return fault('invalid_request', path, 'must be the name of one of tools')
  }
  const allowed = new Set(listed.map((tool) => tool.function.name))
  return { ok: true, tools: tools.filter((tool) => allowed.has(tool.name)), toolChoice: mode }
}
