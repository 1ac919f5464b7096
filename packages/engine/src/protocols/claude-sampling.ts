import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask } from '../ask.ts'
import type { ThinkingPlan } from './anthropic-messages-thinking.ts'

/**
 * Sampling parameters as Claude takes them, wherever it is served: temperature at most 1; not temperature and `top_p`
 * together; next to thinking no temperature, no `top_k`, and `top_p` from 0.95; the newest models none at all.
 */
export function claudeSampling(ask: Ask, endpoint: Endpoint, thinking: ThinkingPlan, dropped: Set<string>) {
  const samples = endpoint.supportedParameters.includes('temperature')
  const free = samples && thinking.field?.type !== 'enabled' && thinking.field?.type !== 'adaptive'
  const temperature = free ? ask.temperature : undefined
  const topPFits = free ? temperature === undefined : (ask.topP ?? 0) >= 0.95
  const topP = samples && topPFits ? ask.topP : undefined
  const topK = free ? ask.topK : undefined
  if (ask.temperature !== undefined && temperature === undefined) dropped.add('temperature')
  if (ask.topP !== undefined && topP === undefined) dropped.add('top_p')
  if (ask.topK !== undefined && topK === undefined) dropped.add('top_k')
  return { temperature: temperature === undefined ? undefined : Math.min(temperature, 1), topP, topK }
}

/** Stop sequences without those of white space only, which are refused; `undefined` where none is left. */
export function visibleStops(ask: Ask, dropped: Set<string>): readonly string[] | undefined {
  const stop = ask.stop.filter((sequence) => sequence.trim() !== '')
  if (stop.length < ask.stop.length) dropped.add('stop')
  return stop.length === 0 ? undefined : stop
}
