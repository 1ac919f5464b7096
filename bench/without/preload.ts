/**
 * Loaded before the router, which is started as it is: puts another module in the place of the one that has the part
 * to be left out. So nothing in the router knows of the bench, and the bench knows nothing of how the router is wired.
 */
import { registerHooks } from 'node:module'
import { leftOut, type PartName } from './parts.ts'

const STAND_INS: Readonly<Partial<Record<PartName, readonly [original: string, standIn: string]>>> = {
  authentication: ['/accounts/authenticate.ts', './one-caller.ts'],
  receipts: ['/ledger/postgres-books.ts', './other-books.ts'],
  metrics: ['/ledger/postgres-books.ts', './other-books.ts'],
  disk: ['/ledger/postgres-books.ts', './other-books.ts'],
  settlements: ['/ledger/postgres-books.ts', './other-books.ts'],
  holds: ['/ledger/postgres-books.ts', './other-books.ts'],
  books: ['/ledger/postgres-books.ts', './other-books.ts'],
  upstream: ['/engine/src/transport.ts', './memory-transport.ts'],
}

const pair = STAND_INS[leftOut()]
if (pair) {
  const [original, standIn] = pair
  const replacement = new URL(standIn, import.meta.url).href
  registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context)
      // The stand-in itself gets the original, which it is made from.
      const isReplaced = resolved.url.endsWith(original) && context.parentURL !== replacement
      return isReplaced ? { ...resolved, url: replacement } : resolved
    },
  })
}
