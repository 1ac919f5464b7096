import type pg from 'pg'
import { type Id, newId, type Seams } from '../ids.ts'
import type { BooksHeader } from '../storage/books-file.ts'

export interface SettledIn {
  readonly holdsReleased: number
  readonly keysStopped: number
  readonly operatorKeysWithdrawn: number
}

/** Who an audit event says it was. */
const ACTOR = 'import'
const BATCH = 1_000
const HOLDS_BATCH = 256

/**
 * Makes imported books those of this place, in the transaction that the session is in: what routers of the old place
 * held is released without a charge, their operator keys count no more, and the audit says what was done.
 */
export async function settleIn(
  client: pg.Client,
  seams: Seams,
  { header, sha256, stopAllKeys }: { header: BooksHeader; sha256: string; stopAllKeys: boolean },
): Promise<SettledIn> {
  const holdsReleased = await releaseHolds(client, newId('rtr', seams))
  const keysStopped = stopAllKeys ? await stopKeys(client, seams) : 0
  const operatorKeysWithdrawn = await withdrawOperatorKeys(client, seams)
  await audit(client, seams, [
    {
      action: 'books.imported',
      target: 'books',
      after: { takenAt: header.takenAt, mesh: header.mesh, sha256, final: header.final, stopAllKeys },
    },
  ])
  return { holdsReleased, keysStopped, operatorKeysWithdrawn }
}

/** No router of the new place holds anything yet. */
async function releaseHolds(client: pg.Client, routerId: Id<'rtr'>): Promise<number> {
  let released = 0
  for (;;) {
    const { rows } = await client.query<{ count: number }>(
      `select release_holds('of_other_routers', $1, interval '0', ${HOLDS_BATCH}) as count`,
      [routerId],
    )
    const count = rows[0]?.count ?? 0
    released += count
    if (count < HOLDS_BATCH) return released
  }
}

async function stopKeys(client: pg.Client, seams: Seams): Promise<number> {
  const { rows } = await client.query<{ id: string; account_id: string; livemode: boolean }>(
    `update api_keys set revoked_at = mesh_now()
     where revoked_at is null and (stops_at is null or stops_at > mesh_now()) returning id, account_id, livemode`,
  )
  await audit(
    client,
    seams,
    rows.map(({ id, account_id, livemode }) => ({
      action: 'key.revoked',
      target: id,
      accountId: account_id,
      livemode,
    })),
  )
  await client.query('update accounts set policy_version = policy_version + 1')
  return rows.length
}

/**
 * Which of them were withdrawn after the export nobody knows. The next start lets the one in again that the operator
 * has set or kept, and no other.
 */
async function withdrawOperatorKeys(client: pg.Client, seams: Seams): Promise<number> {
  const { rows } = await client.query<{ id: string }>(
    'update operator_keys set revoked_at = mesh_now() where revoked_at is null returning id',
  )
  await audit(
    client,
    seams,
    rows.map(({ id }) => ({ action: 'operator_key.withdrawn', target: id })),
  )
  return rows.length
}

interface ImportAudit {
  readonly action: 'books.imported' | 'key.revoked' | 'operator_key.withdrawn'
  readonly target: string
  readonly accountId?: string
  readonly livemode?: boolean
  readonly after?: Readonly<Record<string, unknown>>
}

async function audit(client: pg.Client, seams: Seams, events: readonly ImportAudit[]): Promise<void> {
  for (let from = 0; from < events.length; from += BATCH) {
    const batch = events.slice(from, from + BATCH).map(({ action, target, accountId, livemode, after }) => ({
      id: newId('aud', seams),
      account_id: accountId ?? null,
      livemode: livemode ?? null,
      actor: ACTOR,
      action,
      target,
      after: after ?? null,
    }))
    await client.query(
      `insert into audit_events (id, account_id, livemode, actor, action, target, after)
       select id, account_id, livemode, actor, action, target, after
       from json_populate_recordset(null::audit_events, $1)`,
      [JSON.stringify(batch)],
    )
  }
}
