import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { describeError, type Log } from '../log.ts'
import { type Database, endConnection } from '../storage/database.ts'
import { StartupError } from '../storage/startup-error.ts'
import type { SigningKey } from './signing-key.ts'

/** That this router runs and which key it signs with, told to all others for as long as it lasts. */
export interface SigningAgreement {
  close(): Promise<void>
}

/** "MESH" in ASCII: the class of the advisory locks that stand for signing keys. */
const LOCK_CLASS = 0x4d455348
const RECONNECT_MS = 1_000
/** The database takes a machine that went away without a word for dead after this long, and its key for unused. */
const KEEPALIVE =
  'set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3'

/**
 * Holds routers that share a database to one signing key. Not for the receipts' sake alone: idempotency keys are kept
 * as HMACs whose secret is derived from it, so with two keys a repeated call would run, and be charged, twice. The key
 * can be changed while no router runs.
 * @throws StartupError where a router with another key uses the database.
 */
export async function agreeOnSigningKey(
  database: Database,
  { keyId }: SigningKey,
  log: Log,
): Promise<SigningAgreement> {
  const first = await announce(database, keyId)
  if (!first.isAgreed) {
    await endConnection(first.client)
    throw new StartupError(
      'Another router on this database signs with another key: give all of them the same MESH_SIGNING_KEY_FILE, or stop the others first to change it.',
    )
  }
  const closing = new AbortController()
  const keeping = keepAnnounced(first, () => announceAgain(database, keyId, log), closing.signal)
  return {
    async close() {
      closing.abort()
      await keeping
    },
  }
}

/** A key that is announced, until the connection is lost. */
interface Announcement {
  readonly client: pg.Client
  readonly lost: Promise<void>
  /** Whether no router with another key was there at the time. */
  readonly isAgreed: boolean
}

/** Announces anew whenever the connection is lost, until it is told to close. */
async function keepAnnounced(
  first: Announcement,
  again: () => Promise<Announcement | undefined>,
  closing: AbortSignal,
): Promise<void> {
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  closing.addEventListener('abort', () => resolve(), { once: true })
  let announcement: Announcement | undefined = first
  while (!closing.aborted) {
    await Promise.race([announcement?.lost, closed])
    await pause(RECONNECT_MS, undefined, { signal: closing }).catch(() => undefined)
    if (!closing.aborted) announcement = await again()
  }
  if (announcement) await endConnection(announcement.client)
}

async function announceAgain(database: Database, keyId: string, log: Log): Promise<Announcement | undefined> {
  try {
    const announcement = await announce(database, keyId)
    if (!announcement.isAgreed) log.error('a router with another signing key runs')
    return announcement
  } catch (error) {
    log.warn('the signing key is not announced at the moment', describeError(error))
    return undefined
  }
}

/** Takes the lock of a key, which all routers with that key share. It goes with the connection. */
async function announce(database: Database, keyId: string): Promise<Announcement> {
  const client = await database.connect()
  const { promise: lost, resolve } = Promise.withResolvers<void>()
  client.once('end', () => resolve())
  try {
    await client.query(KEEPALIVE)
    await client.query('select pg_advisory_lock_shared($1, $2)', [LOCK_CLASS, lockOf(keyId)])
    return { client, lost, isAgreed: !(await otherKeyRuns(client, keyId)) }
  } catch (error) {
    await endConnection(client)
    throw error
  }
}

/** Asked after the own lock is taken: of two that start at once with different keys at least one sees the other. */
async function otherKeyRuns(client: pg.Client, keyId: string): Promise<boolean> {
  const { rowCount } = await client.query(
    `select from pg_locks
     where locktype = 'advisory' and objsubid = 2 and classid = $1 and objid <> $2::integer::oid
       and database = (select oid from pg_database where datname = current_database())`,
    [LOCK_CLASS, lockOf(keyId)],
  )
  return rowCount !== 0
}

function lockOf(keyId: string): number {
  return createHash('sha256').update(keyId).digest().readInt32BE()
}
