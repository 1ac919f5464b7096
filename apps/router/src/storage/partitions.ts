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
  return Array.from({ length: MONTHS }, (_, ahead) => {
    const from = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead)
    const to = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead + 1)
    const month = new Date(from).toISOString().slice(0, 7).replace('-', '_')
    return PARTITIONED.map(({ table, prefix }) => ({
      table,
      name: `${table}_${month}`,
      from: firstIdAt(prefix, from),
      to: firstIdAt(prefix, to),
    }))
  }).flat()
}

async function createPartition(
  client: pg.PoolClient,
  { table, name, from, to }: Partition,
): Promise<boolean> {
  await client.query('begin')
  try {
    await client.query('select pg_advisory_xact_lock($1)', [PARTITION_LOCK])
    const { rows } = await client.query<{ exists: boolean }>('select to_regclass($1) is not null as exists', [
      name,
    ])
    const missing = rows[0]?.exists === false
    if (missing) {
      // Attached rather than made in place: that locks the default partition only, not the whole table.
      await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`)
      await client.query(`create table ${name} (like ${table} including defaults including constraints)`)
      await client.query(
        `alter table ${table} attach partition ${name} for values from ('${from}') to ('${to}')`,
      )
    }
    await client.query('commit')
    return missing
  } catch (error) {
    await client.query('rollback').catch(() => undefined)
    const code = error instanceof pg.DatabaseError ? error.code : undefined
    if (code === CHECK_VIOLATION || code === LOCK_NOT_AVAILABLE) return false
    throw error
  }
}
