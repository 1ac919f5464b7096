import type { Model, ModelId } from './catalog.ts'

/**
 * The modes, by which a caller leaves the choice of a model to the planner. What each of them orders by is the
 * engine's to say.
 */
export const MODES = ['auto', 'cheapest', 'fast', 'best'] as const
export type Mode = (typeof MODES)[number]

/** What a caller can name: a model, a mode or a tier. */
export interface Target {
  readonly id: ModelId
  readonly kind: Model['kind']
}

/** `mesh/auto`: a mode by the id that events and lists show. */
export function modeId(mode: Mode): ModelId {
  return `mesh/${mode}`
}

/** The mode of an id, or `undefined` where it is no mode's. */
export function modeOf(id: ModelId): Mode | undefined {
  return BY_ID.get(id)
}

const BY_ID: ReadonlyMap<ModelId, Mode> = new Map(MODES.map((mode) => [modeId(mode), mode]))

/** The modes as targets. They choose among chat models: vectors and scores of two models cannot be compared. */
export const MODE_TARGETS: readonly Target[] = MODES.map((mode) => ({ id: modeId(mode), kind: 'chat' }))
