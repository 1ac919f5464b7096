import type { Selectable } from 'kysely'
import type { ReceiptId } from '../ids.ts'
import type { Database } from '../storage/database.ts'
import type { ReceiptsTable } from '../storage/tables.ts'
import type { Reader } from './events.ts'
import { signingInput, signReceipt } from './receipt.ts'
import type { SigningKey } from './signing-key.ts'

type ReceiptRow = Selectable<ReceiptsTable>

/** A receipt as `GET /v1/receipts` shows it: the claims for people, and the signed bytes for everyone else. */
export interface SignedReceipt {
  readonly id: ReceiptId
  readonly object: 'receipt'
  readonly livemode: boolean
  readonly receipt: unknown
  readonly jws: string
}

/** One page of receipts, newest first. */
export async function listReceipts(
  database: Database,
  reader: Reader,
  page: { readonly limit: number; readonly before?: string },
): Promise<ReceiptRow[]> {
  let query = database.query
    .selectFrom('receipts')
    .selectAll()
    .where('account_id', '=', reader.accountId)
    .where('livemode', '=', reader.livemode)
  if (page.before !== undefined) query = query.where('id', '<', page.before as ReceiptId)
  return await query.orderBy('id', 'desc').limit(page.limit).execute()
}

/** One receipt, or `undefined` where this reader has none of that id. */
export async function findReceipt(
  database: Database,
  reader: Reader,
  id: ReceiptId,
): Promise<ReceiptRow | undefined> {
  return await database.query
    .selectFrom('receipts')
    .selectAll()
    .where('id', '=', id)
    .where('account_id', '=', reader.accountId)
    .where('livemode', '=', reader.livemode)
    .executeTakeFirst()
}

/**
 * Signs a receipt the first time that it is read, and keeps the signature: signing costs the call path nothing. A
 * signature that another router made in the same moment wins, so a receipt has one JWS for good.
 */
export async function signedReceipt(
  database: Database,
  row: ReceiptRow,
  key: SigningKey,
): Promise<SignedReceipt> {
  const { keyId, signature } =
    row.key_id && row.signature
      ? { keyId: row.key_id, signature: row.signature }
      : await signOnce(database, row, key)
  return {
    id: row.id,
    object: 'receipt',
    livemode: row.livemode,
    receipt: JSON.parse(row.payload.toString('utf8')),
    jws: `${signingInput(keyId, row.payload)}.${signature.toString('base64url')}`,
  }
}

async function signOnce(
  database: Database,
  row: ReceiptRow,
  key: SigningKey,
): Promise<{ readonly keyId: string; readonly signature: Buffer }> {
  const signature = signReceipt(row.payload, key)
  const stored = await database.query
    .updateTable('receipts')
    .set({ key_id: key.keyId, signature })
    .where('id', '=', row.id)
    .where('signature', 'is', null)
    .returning(['key_id', 'signature'])
    .executeTakeFirst()
  if (stored) return { keyId: key.keyId, signature }
  const winner = await database.query
    .selectFrom('receipts')
    .select(['key_id', 'signature'])
    .where('id', '=', row.id)
    .executeTakeFirstOrThrow()
  return { keyId: winner.key_id ?? key.keyId, signature: winner.signature ?? signature }
}

/** Publishes this router's public key. Old keys stay published, for their receipts outlive them. */
export async function publishSigningKey(database: Database, key: SigningKey): Promise<void> {
  await database.query
    .insertInto('signing_keys')
    .values({ key_id: key.keyId, public_jwk: JSON.stringify(key.publicJwk) })
    .onConflict((conflict) => conflict.column('key_id').doNothing())
    .execute()
}

/** Every key that ever signed a receipt, as a JWK set (RFC 7517). */
export async function publishedKeys(
  database: Database,
): Promise<{ readonly keys: readonly Readonly<Record<string, unknown>>[] }> {
  const rows = await database.query
    .selectFrom('signing_keys')
    .select('public_jwk')
    .orderBy('created_at')
    .execute()
  return { keys: rows.map((row) => row.public_jwk) }
}
