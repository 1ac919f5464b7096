import type { Catalog, Model, ModelId } from './catalog.ts'
import { editDistance } from './edit-distance.ts'
import { MODE_TARGETS, type Target } from './target.ts'

/** Longer names are cut before any work is done on them: a hostile name costs no more than this many characters. */
const NAME_LENGTH_MAX = 128
const PREFIX = 'mesh/'
/** What OpenRouter's clients ask for where they leave the choice to the router. */
const OPENROUTER_AUTO = 'openrouter/auto'

/** Finds models by any of their names. */
export interface ModelIndex {
  /** The model that a name means: its id with or without `mesh/`, or an alias, in any case. */
  resolve(name: string): Model | undefined
  /** The model, mode or tier that a name means: a mode or tier by its id with or without `mesh/`, in any case. */
  resolveTarget(name: string): Target | undefined
  /** The ids that look most like a name, the closest first: for the message that a model does not exist. */
  nearest(name: string, count: number): ModelId[]
}

/** Builds the index of a catalogue. The catalogue's loader has made sure that no alias means two models. */
export function createModelIndex(catalog: Catalog): ModelIndex {
  const byName = new Map<string, Model>()
  for (const model of catalog.models) {
    for (const alias of model.aliases) byName.set(alias, model)
  }
  for (const model of catalog.models) byName.set(withoutPrefix(model.id.toLowerCase()), model)
  const slugs = catalog.models.map((model) => ({
    id: model.id,
    slug: withoutPrefix(model.id.toLowerCase()),
  }))
  const choices = new Map<string, Target>()
  for (const target of [...MODE_TARGETS, ...catalog.tiers]) choices.set(withoutPrefix(target.id), target)
  const auto = choices.get('auto')
  if (auto) choices.set(OPENROUTER_AUTO, auto)

  const resolve = (name: string): Model | undefined => {
    if (name.length > NAME_LENGTH_MAX) return undefined
    return byName.get(withoutPrefix(name.toLowerCase()))
  }
  return {
    resolve,
    resolveTarget(name) {
      if (name.length > NAME_LENGTH_MAX) return undefined
      return choices.get(withoutPrefix(name.toLowerCase())) ?? resolve(name)
    },
    nearest(name, count) {
      const asked = lastSegment(name.slice(0, NAME_LENGTH_MAX).toLowerCase())
      return slugs
        .map(({ id, slug }) => ({ id, distance: editDistance(asked, slug) }))
        .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1))
        .slice(0, count)
        .map(({ id }) => id)
    },
  }
}

function withoutPrefix(name: string): string {
  return name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name
}

/** `anthropic/claude-sonet-4.5` is a misspelt `claude-sonnet-4.5`, whatever stands before it. */
function lastSegment(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1)
}
