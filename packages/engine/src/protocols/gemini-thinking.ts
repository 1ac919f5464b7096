import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, JsonObject } from '../ask.ts'
import { budgetTokens, closestEffort, effortAsked, reasoningControlsOf } from '../reasoning.ts'

/**
 * How Gemini is told to think: by a level from the third generation on, by a budget of tokens before. Only part of it
 * is ever shown, as a summary, and only where that is asked for. https://ai.google.dev/gemini-api/docs/thinking
 *
 * Whoever asked for no thinking where it cannot be switched off gets the least of it, and is told so.
 */
export function thinkingConfig(
  ask: Ask,
  endpoint: Endpoint,
  outputTokensCap: number,
  dropped: Set<string>,
): JsonObject | undefined {
  const effort = effortAsked(ask.reasoning)
  if (effort === undefined || ask.reasoning === undefined) return undefined
  if (!endpoint.supportedParameters.includes('reasoning')) {
    if (effort !== 'none') dropped.add('reasoning')
    return undefined
  }
  const { efforts, budget, toggle } = reasoningControlsOf(endpoint)
  const isOff = effort === 'none'
  const shown = isOff || ask.reasoning.exclude ? {} : { includeThoughts: true }
  const level = closestEffort(effort, efforts)
  if (level !== undefined) {
    if (isOff && level !== 'none') dropped.add('reasoning.effort')
    if (!isOff && ask.reasoning.maxTokens !== undefined) dropped.add('reasoning.max_tokens')
    return { ...shown, thinkingLevel: level.toUpperCase() }
  }
  if (isOff && toggle) return { thinkingBudget: 0 }
  const tokens = budget && budgetTokens(ask.reasoning, effort, budget, outputTokensCap)
  if (tokens === undefined || isOff) dropped.add(isOff ? 'reasoning.effort' : 'reasoning')
  return tokens === undefined ? undefined : { ...shown, thinkingBudget: tokens }
}
