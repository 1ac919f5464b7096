/**
 * What a key may do. `chat` is all inference; `usage` reads events, ledger, receipts and usage; `keys` manages keys
 * and projects; `billing` payments. Operator routes belong to operator keys, which no key can become.
 */
export const SCOPES = ['chat', 'usage', 'keys', 'billing'] as const
export type Scope = (typeof SCOPES)[number]

/** What a key may do where nothing is said. */
export const DEFAULT_SCOPES: readonly Scope[] = ['chat']

/** Reads stored scopes; a word that this build does not know grants nothing. */
export function readScopes(stored: readonly string[]): Scope[] {
  return SCOPES.filter((scope) => stored.includes(scope))
}
