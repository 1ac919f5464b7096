import type { ToolWish } from '../tool-choice.ts'
import type { ChatParameters } from './schema.ts'

/** Which tools a chat call wants. */
export function toolWish(choice: ChatParameters['tool_choice']): ToolWish | undefined {
  if (typeof choice !== 'object' || choice === null) return choice ?? undefined
  if (choice.type === 'function') {
    return { type: 'one', name: choice.function.name, nameAt: ['function', 'name'] }
  }
  const { mode, tools } = choice.allowed_tools
  return {
    type: 'some',
    mode,
    names: tools.map((tool) => tool.function.name),
    nameAt: (index) => ['allowed_tools', 'tools', index, 'function', 'name'],
  }
}
