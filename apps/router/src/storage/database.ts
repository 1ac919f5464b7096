import { setTimeout as pause } from 'node:timers/promises'
import {
  Kysely,
  type PostgresCursor,
  PostgresDialect,
  type PostgresPool,
  type PostgresPoolClient,
  type PostgresQueryResult,
} from 'kysely'
import pg from 'pg'
import { connectionError, storageError } from './storage-error.ts'
import type { Tables } from './tables.ts'

/** Where a PostgreSQL is: the URL of an external one, or the parts of the embedded one (`host` is a socket folder). */
export type ConnectionOptions =
  | { readonly url: string }
  | {
      readonly host: string
      readonly port: number
      readonly user: string
      readonly password: string
      readonly database: string
    }

export interface DatabaseOptions {
  /** Connections at most. */
  readonly poolSize: number
  /** Whether a connection that was made is kept however long nobody needs it. Default false. */
  readonly keepsConnections?: boolean
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string
  /**
   * The database gives a statement up after this long, and ends a session that does nothing within a transaction for
   * as long; a little later the client gives up a database that says nothing at all. 0 is no bound.
   */
  readonly statementTimeoutMs: number
  /** The database gives up waiting for a lock after this long. 0, the default, is no bound. */
  readonly lockTimeoutMs?: number
  /** Waiting for a connection ends after this long with `storage_unavailable`. */
  readonly connectTimeoutMs?: number
}

export interface Database {
  /** Typed SQL. Rejects with `storage_unavailable` where the database cannot serve. */
  readonly query: Kysely<Tables>
  /** For statements written out in SQL. Its errors are PostgreSQL's own: pass them through `storageError`. */
  readonly pool: pg.Pool
  /**
   * A connection of its own, outside the pool, for a session with settings or locks; its owner ends it. Rejects with
   * `storage_unavailable`. Losing it is reported by its `end` event and by the next query.
   */
  connect(): Promise<pg.Client>
  /**
   * Makes all connections of the pool, so that nobody waits until one is made: that takes the database several answers,
   * and where it is slow that is longer than callers wait. What cannot be made now is made when it is needed.
   */
  openAhead(): Promise<void>
  /** Waits for running queries and closes every connection of the pool. */
  close(): Promise<void>
}

/** `pg` takes a bound for a single query too, though its types do not say so. */
export type BoundedQuery = pg.QueryConfig & { readonly query_timeout: number }

const CONNECT_TIMEOUT_MS = 5_000
const IDLE_TIMEOUT_MS = 30_000
/** How much longer the client waits than the database works: on a way where packets vanish nothing else ends a wait. */
const ANSWER_GRACE_MS = 1_000
/** How long a goodbye may take, which a database that no longer answers never returns. */
const END_PATIENCE_MS = 1_000
const DATE_LIMIT_MS = 8.64e15

/** The name of the sessions of one router, by which they are told from those of its siblings. */
export function applicationName(routerId: string): string {
  return `mesh ${routerId}`
}

/** Opens a pool. Connections are made as they are needed, so this neither waits nor fails. */
export function openDatabase(connection: ConnectionOptions, options: DatabaseOptions): Database {
  const config = clientConfig(connection, options)
  const { poolSize, keepsConnections = false } = options
  const pool = new pg.Pool({
    ...config,
    max: poolSize,
    min: keepsConnections ? poolSize : 0,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
  })
  // An idle connection that breaks has already left the pool; whoever asks next gets a new one or the error.
  pool.on('error', () => undefined)
  // One that breaks while it is lent out, between two statements, reports it with the next; a connection without a
  // listener of its own would end the process instead.
  pool.on('connect', (client) => client.on('error', () => undefined))
  const query = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: reportingPool(pool) }) })
  let closed: Promise<void> | undefined
  return {
    query,
    pool,
    async connect() {
      const client = new pg.Client(config)
      // Without a listener a broken connection would end the process; its owner hears `end`.
      client.on('error', () => undefined)
      await client.connect().catch((error: unknown) => {
        throw connectionError(error)
      })
      return client
    },
    async openAhead() {
      const made = await Promise.allSettled(Array.from({ length: poolSize }, () => pool.connect()))
      for (const each of made) if (each.status === 'fulfilled') each.value.release()
    },
    // Not by way of Kysely: it leaves a pool alone that it was never asked to use itself.
    async close() {
      closed ??= pool.end()
      await closed
    },
  }
}

/** Ends a connection. Resolves when it has ended, or when its goodbye takes too long; it never rejects. */
export async function endConnection(client: pg.Client): Promise<void> {
  const enough = new AbortController()
  const patience = pause(END_PATIENCE_MS, undefined, { signal: enough.signal, ref: false })
  await Promise.race([client.end(), patience]).catch(() => undefined)
  enough.abort()
  await patience.catch(() => undefined)
}

/** Runs statements in the transaction that `query` is in already, or else in one of their own. */
export function inTransaction<Result>(
  query: Kysely<Tables>,
  work: (transaction: Kysely<Tables>) => Promise<Result>,
): Promise<Result> {
  return query.isTransaction ? work(query) : query.transaction().execute(work)
}

/** What `pg` needs for one connection: bounds, UTC, and the types that `Tables` promises. */
function clientConfig(connection: ConnectionOptions, options: DatabaseOptions): pg.ClientConfig {
  const { url, ...parts } = { url: undefined, ...connection }
  return {
    ...(url === undefined ? parts : { connectionString: url }),
    application_name: options.applicationName,
    connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    ...boundsOf(options.statementTimeoutMs),
    lock_timeout: options.lockTimeoutMs ?? 0,
    keepAlive: true,
    // Days and months of limits begin at midnight UTC whatever the server's own zone is.
    options: '-c timezone=UTC',
    types: { getTypeParser },
  }
}

function boundsOf(statementTimeoutMs: number): pg.ClientConfig {
  if (statementTimeoutMs === 0) return {}
  return {
    statement_timeout: statementTimeoutMs,
    // What a session leaves locked goes with it, also where its client vanished within a transaction.
    idle_in_transaction_session_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + ANSWER_GRACE_MS,
  }
}

const parseTimestamp = pg.types.getTypeParser(pg.types.builtins.TIMESTAMPTZ)
const INT8_ARRAY = 1016

function parseMoment(text: string): Date {
  if (text === 'infinity') return new Date(DATE_LIMIT_MS)
  if (text === '-infinity') return new Date(-DATE_LIMIT_MS)
  return parseTimestamp(text)
}

function parseBigintArray(text: string): bigint[] {
  return text === '{}' ? [] : text.slice(1, -1).split(',').map(BigInt)
}

function getTypeParser(oid: number, format?: 'text' | 'binary'): (text: string) => unknown {
  if (format !== 'binary') {
    if (oid === pg.types.builtins.INT8) return BigInt
    if (oid === INT8_ARRAY) return parseBigintArray
    if (oid === pg.types.builtins.TIMESTAMPTZ) return parseMoment
  }
  return pg.types.getTypeParser(oid, format)
}

/** The pool as Kysely sees it: the same, with errors told apart. */
function reportingPool(pool: pg.Pool): PostgresPool {
  // Kysely recognises a connection by the object that it was given for it.
  const known = new WeakMap<pg.PoolClient, PostgresPoolClient>()
  return {
    options: pool.options,
    async connect() {
      const client = await pool.connect().catch((error: unknown) => {
        throw connectionError(error)
      })
      const reporting = known.get(client) ?? new ReportingClient(client)
      known.set(client, reporting)
      return reporting
    },
    end: () => pool.end(),
  }
}

class ReportingClient implements PostgresPoolClient {
  readonly #client: pg.PoolClient
  /** Whether it has shown a database that cannot serve: a silent one, a read-only standby. The next one may be better. */
  #isSpent = false

  constructor(client: pg.PoolClient) {
    this.#client = client
  }

  query<Row>(statement: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<Row>>
  query<Row>(cursor: PostgresCursor<Row>): PostgresCursor<Row>
  query(statement: unknown, parameters: readonly unknown[] = []): unknown {
    if (typeof statement !== 'string') throw new TypeError('MESH reads pages, not cursors')
    return this.#client.query(statement, [...parameters]).catch((error: unknown) => {
      const told = storageError(error)
      this.#isSpent ||= told !== error
      throw told
    })
  }

  release(destroy?: boolean): void {
    this.#client.release(destroy === true || this.#isSpent)
  }
}
