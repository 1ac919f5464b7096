import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask } from '../ask.ts'
import { budgetTokens, closestEffort, type Effort, effortAsked, reasoningControlsOf } from '../reasoning.ts'

/** What a request says about thinking. */
export interface ThinkingPlan {
  readonly field?:
    | { readonly type: 'enabled'; readonly budget_tokens: number }
    | { readonly type: 'adaptive'; readonly display: 'summarized' | 'omitted' }
    | { readonly type: 'disabled' }
  /** For `output_config`. */
  readonly effort?: Effort
}

/**
 * How Claude is told to think. Models that know efforts think adaptively, as hard as the effort says; the older ones
 * get a budget of tokens, which must be at least 1,024 and below `max_tokens`.
 * https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking
 *
 * Thinking is dropped where the API would refuse the request with it: no room for a budget, a forced tool, or an open
 * tool call in the history whose own thinking block did not come back (the last two with a budget only).
 */
export function thinkingPlan(
  ask: Ask,
  endpoint: Endpoint,
  outputTokensCap: number,
  dropped: Set<string>,
): ThinkingPlan {
  const effort = effortAsked(ask.reasoning)
  if (effort === undefined || ask.reasoning === undefined) return {}
  const { efforts, budget, toggle } = reasoningControlsOf(endpoint)
  if (effort === 'none') return toggle ? { field: { type: 'disabled' } } : {}
  if (!endpoint.supportedParameters.includes('reasoning')) {
    dropped.add('reasoning')
    return {}
  }
  const graded = closestEffort(effort, efforts)
  if (ask.reasoning.effortOnly) {
    if (graded === undefined) dropped.add('output_config.effort')
    return graded === undefined ? {} : { effort: graded }
  }
  const budgetWanted = budget && (graded === undefined || ask.reasoning.maxTokens !== undefined)
  if (budgetWanted) {
    const tokens = budgetTokens(ask.reasoning, effort, budget, outputTokensCap)
    if (tokens === undefined || forcesTool(ask) || lacksThinkingBeforeResults(ask)) {
      dropped.add('reasoning')
      return {}
    }
    return { field: { type: 'enabled', budget_tokens: tokens } }
  }
  if (graded === undefined) {
    dropped.add('reasoning')
    return {}
  }
  if (ask.reasoning.maxTokens !== undefined) dropped.add('reasoning.max_tokens')
  // The newest models keep their thinking to themselves unless asked for its summary.
  const display = ask.reasoning.exclude ? 'omitted' : 'summarized'
  return { field: { type: 'adaptive', display }, effort: graded }
}

function forcesTool(ask: Ask): boolean {
  return ask.tools.length > 0 && (ask.toolChoice === 'required' || typeof ask.toolChoice === 'object')
}

/** Whether the conversation ends with tool results for an assistant turn that does not begin with its thinking. */
function lacksThinkingBeforeResults(ask: Ask): boolean {
  if (ask.messages.at(-1)?.role !== 'tool') return false
  const turn = ask.messages.findLast((message) => message.role === 'assistant')
  return turn?.role === 'assistant' && !turn.reasoning.some((block) => block.signature ?? block.redacted)
}
