import pg from 'pg'
import { firstIdAt } from '../ids.ts'

/** The tables that are partitioned by month on their id, with the prefix of these ids. */
const PARTITIONED = [
  { table: 'events', prefix: 'req' },
  { table: 'ledger_entries', prefix: 'led' },
] as const
/** This month and the next one. */
const MONTHS = 2
const PARTITION_LOCK = 0x4d455348_0002n
/** Calls write to the tables meanwhile; making room for them must not hold them up. It is tried again later. */
const LOCK_TIMEOUT_MS = 2_000
const CHECK_VIOLATION = '23514'
const LOCK_NOT_AVAILABLE = '55P03'

interface Partition {
  readonly table: string
  readonly name: string
  readonly from: string
  readonly to: string
}

/**
 * Makes the partitions of this month and the next, where they are missing; any number of routers may do so at once.
 * Returns the names of those that it made.
 *
 * A month whose first rows went to the default partition stays there whole: PostgreSQL refuses a partition for rows
 * that lie elsewhere, and the books are never moved. A table that is busy for too long is left for the next time.
 */
export async function createPartitions(pool: pg.Pool, nowMs: number): Promise<string[]> {
  const made: string[] = []
  const client = await pool.connect()
  try {
    for (const partition of partitionsFrom(nowMs)) {
      if (await createPartition(client, partition)) made.push(partition.name)
    }
  } finally {
    client.release()
  }
  return made
}

/** The partitions that there should be at a time: half-open ranges of ids, month by month in UTC. */
function partitionsFrom(nowMs: number): Partition[] {
  const now = new Date(nowMs)
  return Array.from({ length: MONTHS }, (_, ahead) =>
    partitionsOf(new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead))),
  ).flat()
}

/** The partitions of the month that begins then. */
function partitionsOf(from: Date): Partition[] {
  const to = Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + 1)
  const month = from.toISOString().slice(0, 7).replace('-', '_')
  return PARTITIONED.map(({ table, prefix }) => ({
    table,
    name: `${table}_${month}`,
    from: firstIdAt(prefix, from.getTime()),
    to: firstIdAt(prefix, to),
  }))
}

/** The months, as in `2026-11`, that have partitions. */
export async function partitionedMonths(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ month: string }>(
    `select distinct replace(right(part.relname, 7), '_', '-') as month
     from pg_inherits i join pg_class part on part.oid = i.inhrelid
     where i.inhparent = any ($1::regclass[]) and part.relname ~ '_\\d{4}_\\d{2}$' order by 1`,
    [PARTITIONED.map(({ table }) => table)],
  )
  return rows.map(({ month }) => month)
}

/**
 * The end of the last month, counted from this one without a gap, that every table has its partition of; the beginning
 * of this month where it has none. In milliseconds since 1970.
 */
export async function partitionsUntil(pool: pg.Pool, nowMs: number): Promise<number> {
  const { rows } = await pool.query<{ month: string }>(
    `select replace(right(part.relname, 7), '_', '-') as month
     from pg_inherits i join pg_class part on part.oid = i.inhrelid
     where i.inhparent = any ($1::regclass[]) and part.relname ~ '_\\d{4}_\\d{2}$'
     group by 1 having count(*) = $2`,
    [PARTITIONED.map(({ table }) => table), PARTITIONED.length],
  )
  const months = new Set(rows.map(({ month }) => month))
  const until = new Date(nowMs)
  until.setUTCHours(0, 0, 0, 0)
  until.setUTCDate(1)
  while (months.has(until.toISOString().slice(0, 7))) until.setUTCMonth(until.getUTCMonth() + 1)
  return until.getTime()
}

/** Makes the partitions of some months, in the transaction that the session is in and before there are rows. */
export async function createPartitionsOf(client: pg.ClientBase, months: readonly string[]): Promise<void> {
  for (const partition of months.flatMap((month) => partitionsOf(new Date(`${month}-01T00:00:00Z`)))) {
    await attachIfMissing(client, partition)
  }
}

async function createPartition(client: pg.PoolClient, partition: Partition): Promise<boolean> {
  await client.query('begin')
  try {
    await client.query('select pg_advisory_xact_lock($1)', [PARTITION_LOCK])
    await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`)
    const missing = await attachIfMissing(client, partition)
    await client.query('commit')
    return missing
  } catch (error) {
    await client.query('rollback').catch(() => undefined)
    const code = error instanceof pg.DatabaseError ? error.code : undefined
    if (code === CHECK_VIOLATION || code === LOCK_NOT_AVAILABLE) return false
    throw error
  }
}

/** Attached rather than made in place: that locks the default partition only, not the whole table. */
async function attachIfMissing(
  client: pg.ClientBase,
  { table, name, from, to }: Partition,
): Promise<boolean> {
  const { rows } = await client.query<{ exists: boolean }>('select to_regclass($1) is not null as exists', [
    name,
  ])
  if (rows[0]?.exists !== false) return false
  await client.query(`create table ${name} (like ${table} including defaults including constraints)`)
  await client.query(`alter table ${table} attach partition ${name} for values from ('${from}') to ('${to}')`)
  return true
}
