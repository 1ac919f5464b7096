import { type Kysely, sql } from 'kysely'
import { MeshError } from '../errors.ts'
import type { Tables } from '../storage/tables.ts'

/** An operator's write under an `Idempotency-Key`. Key and body are remembered as HMACs only. */
export interface OperatorRequest {
  readonly keyHmac: Buffer
  readonly bodyHmac: Buffer
}

/** A repeat of a write comes within minutes; what is older only takes room. */
const REMEMBERED_FOR = sql`interval '30 days'`
/** So that no write waits for the sweep of years. */
const SWEPT_AT_ONCE_MAX = 100

type JsonObject = Readonly<Record<string, unknown>>

/**
 * Does a write once for each key and remembers its answer for 30 days, in the transaction of the write. A second
 * request with the key waits for the first and gets the same answer.
 * @throws MeshError `idempotency_conflict` for another body under the same key.
 */
export async function onceByKey<Answer extends JsonObject>(
  transaction: Kysely<Tables>,
  request: OperatorRequest,
  write: () => Promise<Answer>,
): Promise<JsonObject> {
  await sql`select pg_advisory_xact_lock(${request.keyHmac.readBigInt64BE()})`.execute(transaction)
  const earlier = await transaction
    .selectFrom('operator_requests')
    .select(['body_hmac', 'response'])
    .where('key_hmac', '=', request.keyHmac)
    .executeTakeFirst()
  if (earlier?.body_hmac.equals(request.bodyHmac)) return earlier.response
  if (earlier) {
    throw new MeshError(
      'idempotency_conflict',
      'This Idempotency-Key was used with another body. Send the body of that time, or use a new key.',
    )
  }
  const answer = await write()
  await transaction
    .insertInto('operator_requests')
    .values({ key_hmac: request.keyHmac, body_hmac: request.bodyHmac, response: JSON.stringify(answer) })
    .execute()
  await forgetOldRequests(transaction)
  return answer
}

/** Each write takes away more rows than it adds. Rows that another write takes away are left to it. */
async function forgetOldRequests(transaction: Kysely<Tables>): Promise<void> {
  await sql`
    delete from operator_requests where key_hmac in (
      select key_hmac from operator_requests where created_at < now() - ${REMEMBERED_FOR}
      limit ${SWEPT_AT_ONCE_MAX} for update skip locked
    )
  `.execute(transaction)
}
