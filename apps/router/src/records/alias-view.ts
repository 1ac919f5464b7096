import type { Catalog, Model, Tier } from '@mesh/catalog/catalog.ts'
import { MODES, type Mode, modeId } from '@mesh/catalog/target.ts'
import { AUTO_RULES } from '@mesh/engine/auto-rules.ts'

/** What each mode does, in a sentence. */
const MODE_MEANINGS: Readonly<Record<Mode, string>> = {
  auto: 'The cheapest model that can do what the call asks for, among those that its rule prefers.',
  cheapest: 'The cheapest endpoint that can do what the call asks for.',
  fast: 'The endpoint that is expected to end its answer first.',
  best: 'The model with the highest rating that can do what the call asks for.',
}

/** A name that stands for several models. */
export type Alias =
  | { readonly type: 'mode'; readonly mode: Mode }
  | { readonly type: 'tier'; readonly tier: Tier }

/** Every mode, and every tier of a catalogue. */
export function aliasesIn({ tiers }: Catalog): readonly Alias[] {
  return [
    ...MODES.map((mode) => ({ type: 'mode' as const, mode })),
    ...tiers.map((tier) => ({ type: 'tier' as const, tier })),
  ]
}

/** A mode or tier as `GET /v1/models` lists it: OpenAI's fields, then MESH's own. */
export function aliasView(alias: Alias, catalog: Catalog, available: boolean): Record<string, unknown> {
  const created = Math.floor(Date.parse(`${catalog.version.slice(0, 'YYYY-MM-DD'.length)}T00:00:00Z`) / 1000)
  const shared = { object: 'model', created, owned_by: 'mesh', type: 'alias' }
  const id = aliasId(alias)
  if (alias.type === 'tier') {
    const { name, description, kind, models } = alias.tier
    return { id, ...shared, alias_of: 'tier', kind, name, description, models, available }
  }
  const { mode } = alias
  const rules = AUTO_RULES.map(({ id: rule, when, prefers }) => ({ rule, when, prefers }))
  return {
    id,
    ...shared,
    alias_of: 'mode',
    kind: 'chat',
    name: `${mode.slice(0, 1).toUpperCase()}${mode.slice(1)}`,
    description: MODE_MEANINGS[mode],
    ...(mode === 'auto' ? { rules } : {}),
    available,
  }
}

export function aliasId(alias: Alias): Model['id'] {
  return alias.type === 'mode' ? modeId(alias.mode) : alias.tier.id
}

/** The models that may serve it. */
export function modelsOf(alias: Alias, { models }: Catalog): readonly Model[] {
  if (alias.type === 'mode') return models.filter(({ kind }) => kind === 'chat')
  const members = new Set(alias.tier.models.map(({ model }) => model))
  return models.filter(({ id }) => members.has(id))
}
