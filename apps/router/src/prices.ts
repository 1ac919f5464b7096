import { createHash } from 'node:crypto'
import type { Catalog, ModelId } from '@mesh/catalog/catalog.ts'
import { createModelIndex } from '@mesh/catalog/lookup.ts'
import {
  createPriceList,
  type PriceList,
  type PricePolicy,
  serializePriceList,
} from '@mesh/catalog/price-list.ts'
import type { AccountId } from './ids.ts'
import type { Policy } from './policy.ts'
import type { Database } from './storage/database.ts'
import { StartupError } from './storage/startup-error.ts'

/** What is asked of whom: one list for everybody, and those of accounts that have a mark-up of their own. */
export interface PriceBook {
  readonly standard: PriceList
  readonly byAccount: ReadonlyMap<AccountId, PriceList>
}

/**
 * Materialises the price lists of this catalogue and these mark-ups. The same prices always have the same id.
 * @throws StartupError for a mark-up of a model or provider that is not in the catalogue, and for one below cost.
 */
export function priceBookOf(catalog: Catalog, { pricing }: Pick<Policy, 'pricing'>): PriceBook {
  const { markupBasisPoints, allowLoss } = pricing
  const standard = {
    ...{ markupBasisPoints, allowLoss },
    byProvider: new Map(Object.entries(pricing.providers).map(([id, own]) => [providerOf(id, catalog), own])),
    byModel: new Map(Object.entries(pricing.models).map(([name, own]) => [modelOf(name, catalog), own])),
  }
  const accounts = Object.entries(pricing.accounts).map(
    ([id, own]) => [id as AccountId, listOf(catalog, { markupBasisPoints: own, allowLoss })] as const,
  )
  return { standard: listOf(catalog, standard), byAccount: new Map(accounts) }
}

function listOf(catalog: Catalog, policy: PricePolicy): PriceList {
  try {
    return createPriceList(catalog, policy, (text) =>
      createHash('sha256').update(text).digest('hex').slice(0, 32),
    )
  } catch (error) {
    throw new StartupError(
      `The mark-ups of MESH_SETTINGS are refused: ${error instanceof Error ? error.message : 'they cannot be used.'}`,
    )
  }
}

function providerOf(id: string, { providers }: Catalog): string {
  if (providers.some((provider) => provider.id === id)) return id
  throw new StartupError(
    `The file named by MESH_SETTINGS is refused: pricing.providers names no provider with ${JSON.stringify(id)}.`,
  )
}

function modelOf(name: string, catalog: Catalog): ModelId {
  const model = createModelIndex(catalog).resolve(name)
  if (model) return model.id
  throw new StartupError(
    `The file named by MESH_SETTINGS is refused: pricing.models names no model with ${JSON.stringify(name)}.`,
  )
}

/** Keeps the price lists, so that any bill can be computed again years later. */
export async function publishPrices(database: Database, { standard, byAccount }: PriceBook): Promise<void> {
  for (const list of [standard, ...byAccount.values()]) {
    await database.query
      .insertInto('price_lists')
      .values({
        id: list.id,
        catalog_version: list.catalogVersion,
        markup_basis_points: list.markupBasisPoints,
        prices: serializePriceList(list),
      })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .execute()
  }
}
