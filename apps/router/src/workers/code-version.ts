import { readMigrations } from '../storage/migrate.ts'

/** Tells code apart as far as the books go: by its prices and its schema. */
export function codeVersion(prices: { readonly id: string }): string {
  return `${prices.id}/${readMigrations().length}`
}
