import { createHmac } from 'node:crypto'
import type { AccountId } from '../ids.ts'

/** Stand-ins for strings of callers. Each is keyed, so that nobody without the platform's key can guess back. */
export interface Pseudonyms {
  /** For what goes to a provider (`user`, cache keys): another account's same string gets another one. */
  outward(accountId: AccountId, purpose: string, text: string): string
  /** For the account itself, of which a provider's prompt cache is told. */
  ofAccount(accountId: AccountId): string
  /** For what is remembered of idempotency: 32 bytes. */
  remembered(accountId: AccountId, purpose: 'key' | 'body', text: string): Buffer
}

/** Every call has its account's: so many are kept. */
const ACCOUNTS_KEPT_MAX = 10_000

/** Pseudonyms under a secret of 32 bytes that all routers share. */
export function createPseudonyms(secret: Buffer): Pseudonyms {
  const hmac = (accountId: AccountId, purpose: string, text: string): Buffer =>
    createHmac('sha256', secret).update(`${purpose}\0${accountId}\0`).update(text).digest()
  const outward = (accountId: AccountId, purpose: string, text: string): string =>
    hmac(accountId, `outward ${purpose}`, text).toString('base64url').slice(0, 32)
  const ofAccounts = new Map<AccountId, string>()
  return {
    outward,
    ofAccount(accountId) {
      const known = ofAccounts.get(accountId)
      if (known !== undefined) return known
      if (ofAccounts.size >= ACCOUNTS_KEPT_MAX) ofAccounts.clear()
      const made = outward(accountId, 'account', '')
      ofAccounts.set(accountId, made)
      return made
    },
    remembered: (accountId, purpose, text) => hmac(accountId, `idempotency ${purpose}`, text),
  }
}
