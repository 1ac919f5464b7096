import type { Model, ModelId, Quality } from './catalog.ts'
import type { QualityFile, TiersFile } from './schema.ts'
import { MODES, modeId } from './target.ts'

/** How good a model is held to be, or `undefined` where the file has no row for it. */
export function qualityOf(id: ModelId, ratings: QualityFile): Quality | undefined {
  const row = ratings.models.find(({ model }) => model === id)
  if (!row) return undefined
  return { ...(row.score === null ? {} : { score: row.score }), source: row.source, date: row.date }
}

/** What is wrong with the rows that name models by their ids. Every model has one rating, be it the proxy. */
export function chosenModelsProblems(
  models: readonly Model[],
  ratings: QualityFile,
  { tiers }: TiersFile,
): string[] {
  const byId = new Map(models.map((model) => [model.id, model]))
  const problems: string[] = []
  const rated = new Set<ModelId>()
  for (const { model } of ratings.models) {
    if (!byId.has(model)) problems.push(`quality.json: ${model}: there is no such model`)
    if (rated.has(model)) problems.push(`quality.json: ${model}: the model is listed twice`)
    rated.add(model)
  }
  for (const { id } of models) if (!rated.has(id)) problems.push(`quality.json: ${id} has no row`)
  const taken = new Set<ModelId>(MODES.map(modeId))
  for (const { id } of [...models, ...tiers]) {
    if (taken.has(id)) problems.push(`${id} is the id of a mode, a model or a tier already`)
    taken.add(id)
  }
  for (const tier of tiers) {
    const members = new Set<ModelId>()
    for (const { model } of tier.models) {
      const found = byId.get(model)
      if (!found) problems.push(`tiers.json: ${tier.id}: ${model}: there is no such model`)
      else if (found.kind !== tier.kind) {
        problems.push(`tiers.json: ${tier.id}: ${model} is a model for ${found.kind} calls`)
      }
      if (members.has(model)) problems.push(`tiers.json: ${tier.id}: ${model}: the model is listed twice`)
      members.add(model)
    }
    // Vectors of two models cannot be compared: a fallback between them would spoil an index without a word.
    if (tier.kind === 'embedding' && members.size > 1) {
      problems.push(`tiers.json: ${tier.id}: a tier for embeddings has one model`)
    }
  }
  return problems
}
