import { createHash } from 'node:crypto'
import type { Catalog } from '@mesh/catalog/catalog.ts'
import { createPriceList, type PriceList, serializePriceList } from '@mesh/catalog/price-list.ts'
import type { Policy } from './policy.ts'
import type { Database } from './storage/database.ts'

/**
 * Materialises the price list of this catalogue and this mark-up, and keeps it, so that any bill can be computed
 * again years later. The same prices always have the same id.
 */
export async function publishPriceList(
  database: Database,
  catalog: Catalog,
  policy: Policy,
): Promise<PriceList> {
  const list = createPriceList(catalog, policy.pricing, (text) =>
    createHash('sha256').update(text).digest('hex').slice(0, 32),
  )
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
  return list
}
