import type { ModelId } from './catalog.ts'
import type { ModelRow, VendorFile } from './schema.ts'

/** `-20250929`, `-2025-09-29` or `-03-2025` at the end. `-2512` is a vendor's version and stays. */
const DATE_AT_END = /-(?:20\d{6}|20\d{2}-\d{2}-\d{2}|\d{2}-20\d{2})$/

/**
 * Every name of a model but its id, in lower case: the id without `mesh/`; what its providers call it, dated and
 * undated; and, as OpenRouter writes them, the id and the names that its own vendor gives it.
 */
export function aliasesOf(model: ModelRow, vendor: VendorFile): string[] {
  const aliases = new Set<string>([slugOf(model.id)])
  const vendorsOwn = new Set<string>([slugOf(model.id)])
  for (const { provider, upstreamModel } of model.endpoints) {
    const name = upstreamModel.toLowerCase()
    const undated = name.replace(DATE_AT_END, '')
    aliases.add(name).add(undated)
    if (provider === vendor.vendor) vendorsOwn.add(name).add(undated)
  }
  for (const name of vendorsOwn) aliases.add(`${vendor.openRouterVendor}/${name}`)
  for (const name of model.otherNames) aliases.add(name)
  return [...aliases]
}

/** Names that would mean two models, each with the ids of the models that claim it. */
export function ambiguousNames(
  models: readonly { readonly id: ModelId; readonly aliases: readonly string[] }[],
): { readonly name: string; readonly claimedBy: readonly ModelId[] }[] {
  const claims = new Map<string, Set<ModelId>>()
  for (const { id, aliases } of models) {
    for (const name of [slugOf(id), ...aliases]) claims.set(name, (claims.get(name) ?? new Set()).add(id))
  }
  return [...claims]
    .filter(([, ids]) => ids.size > 1)
    .map(([name, ids]) => ({ name, claimedBy: [...ids].sort() }))
}

function slugOf(id: ModelId): string {
  return id.slice('mesh/'.length).toLowerCase()
}
