import type { PriceBook } from '../prices.ts'
import { readMigrations } from '../storage/migrate.ts'

/** Tells code apart as far as the books go: by its prices and its schema. */
export function codeVersion({ standard }: PriceBook): string {
  return `${standard.id}/${readMigrations().length}`
}
