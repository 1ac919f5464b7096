import { createHash } from 'node:crypto'
import type { Catalog } from '@mesh/catalog/catalog.ts'
import { createPriceList, type PriceList, serializePriceList } from '@mesh/catalog/price-list.ts'
import type { Policy } from './policy.ts'
import type { Database } from './storage/database.ts'

/** Materialises the price list of this catalogue and this mark-up. The same prices always have the same id. */
export function priceListOf(catalog: Catalog, policy: Policy): PriceList {
  return createPriceList(catalog, policy.pricing, (text) =>
    createHash('sha256').update(text).digest('hex').slice(0, 32),
  )
}

/** Keeps a price list, so that any bill can be computed again years later. */
export async function publishPriceList(database: Database, list: PriceList): Promise<void> {
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
