import type pg from 'pg'
import type { AccountId, KeyId } from '../ids.ts'
import type { Database } from '../storage/database.ts'
import { readStops, type Stop } from '../storage/revocation-file.ts'
import { type KeyStop, POLICY_CHANNEL, writeNotices } from './policy-notice.ts'

/** How many of each were stopped that the books thought alive. */
export interface Replayed {
  readonly keys: number
  readonly accounts: number
  readonly operatorKeys: number
}

/** Who an audit event says it was, where a journal of revocations said so. */
const ACTOR = 'revocations'
const BATCH = 1_000

/** Something in the books that was stopped, for its audit event. */
interface Stopped {
  readonly action: string
  readonly accountId: AccountId | null
  readonly livemode: boolean | null
  readonly before: string | null
  readonly after: string | null
  readonly stop?: KeyStop
}

/** Tells the books what a journal knows, as every start does. Throws `StartupError` where it cannot be read. */
export async function replayJournal({ pool }: Pick<Database, 'pool'>, path: string): Promise<Replayed> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    const replayed = await replayRevocations(client, readStops([path]))
    await client.query('commit')
    client.release()
    return replayed
  } catch (error) {
    client.release(true)
    throw error
  }
}

/**
 * Stops what journals say was stopped and the books think alive, in the transaction that the session is in. A stop
 * that the books know of, by its audit event, is left alone: what came after it counts. Each that is made up for
 * leaves its audit event under the id that it had, so that it is made up for once.
 */
export async function replayRevocations(
  client: pg.ClientBase,
  stops: AsyncIterable<Stop> | Iterable<Stop>,
): Promise<Replayed> {
  const counts = { keys: 0, accounts: 0, operatorKeys: 0 }
  /** What was said last of an account is what counts. */
  const ofAccounts = new Map<string, Stop>()
  let batch: Stop[] = []
  const replayBatch = async (): Promise<void> => {
    for (const stop of await unknownAmong(client, batch)) {
      if (stop.action.startsWith('account.')) {
        const said = ofAccounts.get(stop.target)
        if (said === undefined || said.auditId < stop.auditId) ofAccounts.set(stop.target, stop)
      } else if (stop.action === 'operator_key.replaced') {
        if (await stopOperatorKey(client, stop)) counts.operatorKeys++
      } else if (await stopKey(client, stop)) counts.keys++
    }
    batch = []
  }
  for await (const stop of stops) {
    batch.push(stop)
    if (batch.length === BATCH) await replayBatch()
  }
  await replayBatch()
  for (const stop of ofAccounts.values()) if (await stopAccount(client, stop)) counts.accounts++
  return counts
}

async function unknownAmong(client: pg.ClientBase, stops: readonly Stop[]): Promise<Stop[]> {
  const { rows } = await client.query<{ id: string }>('select id from audit_events where id = any ($1)', [
    stops.map(({ auditId }) => auditId),
  ])
  const unknown = new Map(stops.map((stop) => [stop.auditId as string, stop]))
  for (const { id } of rows) unknown.delete(id)
  return [...unknown.values()]
}

/** A grace that still runs is left to run: its end is all that the books must know. */
async function stopKey(client: pg.ClientBase, stop: Stop): Promise<boolean> {
  const { rows } = await client.query<{ account_id: AccountId; livemode: boolean; stops_at: Date | null }>(
    `update api_keys set
       revoked_at = case when $2::timestamptz <= mesh_now() then mesh_now() end,
       stops_at = case when $2::timestamptz <= mesh_now() then stops_at else least(stops_at, $2) end
     where id = $1 and revoked_at is null and (stops_at is null or stops_at > mesh_now())
     returning account_id, livemode, case when revoked_at is null then stops_at end as stops_at`,
    [stop.target, stop.at],
  )
  const [row] = rows
  if (row === undefined) return false
  const stopsAt = row.stops_at === null ? null : JSON.stringify({ stopsAt: row.stops_at.toISOString() })
  await record(client, stop, {
    action: stop.action === 'key.rotated' && stopsAt !== null ? 'key.rotated' : 'key.revoked',
    accountId: row.account_id,
    livemode: row.livemode,
    before: null,
    after: stopsAt,
    ...(stopsAt === null ? { stop: { keyIds: [stop.target as KeyId], reason: 'key_revoked' as const } } : {}),
  })
  return true
}

/** Recorded also where it was stopped already: an operator who lets it go on must not be overruled by the next start. */
async function stopAccount(client: pg.ClientBase, stop: Stop): Promise<boolean> {
  const status = stop.action.slice('account.'.length)
  if (status === 'active') return false
  const { rows } = await client.query<{ id: AccountId; was: string; is: string }>(
    `update accounts a
     set status = case when a.status = 'active' or (a.status = 'suspended' and $2 = 'closed') then $2 else a.status end
     from accounts b where a.id = $1 and b.id = a.id returning a.id, b.status as was, a.status as is`,
    [stop.target, status],
  )
  const [row] = rows
  if (row === undefined) return false
  const { rows: keys } = await client.query<{ id: KeyId }>(
    'select id from api_keys where account_id = $1 and revoked_at is null',
    [row.id],
  )
  await record(client, stop, {
    action: 'account.updated',
    accountId: row.id,
    livemode: null,
    before: JSON.stringify({ status: row.was }),
    after: JSON.stringify({ status: row.is }),
    stop: { keyIds: keys.map(({ id }) => id), reason: 'account_suspended' },
  })
  return row.was !== row.is
}

/** Recorded also where it was stopped already, as accounts are: a start may bring it back. */
async function stopOperatorKey(client: pg.ClientBase, stop: Stop): Promise<boolean> {
  const { rows } = await client.query<{ lived: boolean }>(
    `update operator_keys k set revoked_at = coalesce(k.revoked_at, mesh_now())
     from operator_keys b where k.id = $1 and b.id = k.id returning b.revoked_at is null as lived`,
    [stop.target],
  )
  const [row] = rows
  if (row === undefined) return false
  const nothing = { accountId: null, livemode: null, before: null, after: null }
  await record(client, stop, { action: stop.action, ...nothing })
  return row.lived
}

/**
 * The new policy version and the notice are for routers that have been reading these books meanwhile; another one that
 * starts may say the same at the same time.
 */
async function record(client: pg.ClientBase, { auditId, target }: Stop, stopped: Stopped): Promise<void> {
  const { action, accountId, livemode, before, after, stop } = stopped
  await client.query(
    `insert into audit_events (id, account_id, livemode, actor, action, target, before, after)
     values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing`,
    [auditId, accountId, livemode, ACTOR, action, target, before, after],
  )
  if (accountId === null) return
  await client.query('update accounts set policy_version = policy_version + 1 where id = $1', [accountId])
  for (const payload of writeNotices(accountId, stop === undefined ? [] : [stop])) {
    await client.query('select pg_notify($1, $2)', [POLICY_CHANNEL, payload])
  }
}
