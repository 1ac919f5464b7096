import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import { sql } from 'kysely'
import { type CallId, newId, siblingId } from '../../src/ids.ts'
import { openAccountBooks } from '../../src/ledger/account-books.ts'
import type {
  ExtendRequest,
  HoldDecision,
  HoldGranted,
  HoldRequest,
  Payer,
  Settlement,
} from '../../src/ledger/books.ts'
import { grant } from '../../src/ledger/grants.ts'
import { type BooksOptions, createBooks, type PostgresBooks } from '../../src/ledger/postgres-books.ts'
import { createLog } from '../../src/log.ts'
import { systemSeams } from '../../src/seams.ts'
import type { Database } from '../../src/storage/database.ts'
import type { LimitsTable } from '../../src/storage/tables.ts'
import { createTestDatabase, type TestDatabase } from './test-database.ts'

export type Limits = Partial<
  Record<Exclude<keyof LimitsTable, 'subject_id' | 'account_id' | 'kind'>, bigint | Date>
>

export interface AccountOptions {
  readonly balanceNano?: bigint
  readonly account?: Limits
  readonly project?: Limits
  readonly key?: Limits
  /** Limits of the key that made the account's key: there is none where they are absent. */
  readonly maker?: Limits
}

/** A database with some routers' books on it. */
export interface BooksFixture {
  readonly database: Database
  readonly routers: readonly PostgresBooks[]
  /** The books of one more router. */
  openRouter(options?: Partial<BooksOptions>): Promise<PostgresBooks>
}

/** Opens books on a database of their own, or on a given one, which is closed with them. */
export async function openBooksFixture(
  t: TestContext,
  { routers = 1, ...options }: { readonly routers?: number } & Partial<BooksOptions> = {},
  given?: Pick<TestDatabase, 'database' | 'close'>,
): Promise<BooksFixture> {
  const testDatabase = given ?? (await createTestDatabase())
  t.after(() => testDatabase.close())
  const database = testDatabase.database()
  const openRouter = async (own: Partial<BooksOptions> = {}): Promise<PostgresBooks> => {
    const books = createBooks({
      database: testDatabase.database(4),
      routerId: newId('rtr', systemSeams),
      log: createLog('silent'),
      patienceMs: 20_000,
      // Its quarter is the beat of renewing and reaping: tests do both themselves.
      holdTtlMs: 3_600_000,
      reapGraceMs: 0,
      ...options,
      ...own,
    })
    t.after(() => books.close())
    await books.start()
    return books
  }
  const opened: PostgresBooks[] = []
  for (let count = 0; count < routers; count++) opened.push(await openRouter())
  return { database, routers: opened, openRouter }
}

/** Makes an account with a project and a live key, credit and limits. */
export async function makeAccount(database: Database, options: AccountOptions = {}): Promise<Payer> {
  const accountId = newId('acct', systemSeams)
  const projectId = newId('proj', systemSeams)
  const keyId = newId('key', systemSeams)
  const makerId = options.maker && newId('key', systemSeams)
  const { query } = database
  await query.insertInto('accounts').values({ id: accountId, name: 'test' }).execute()
  await query
    .insertInto('projects')
    .values({ id: projectId, account_id: accountId, name: 'default', is_default: true })
    .execute()
  const payer: Payer = {
    accountId,
    projectId,
    keyId,
    lineageId: keyId,
    ...(makerId === undefined ? {} : { parentLineageId: makerId }),
    livemode: true,
    policyVersion: 1n,
  }
  await insertKey(database, payer)
  await openAccountBooks(query, accountId)
  const subjects = [
    { id: accountId, kind: 'account', limits: options.account },
    { id: projectId, kind: 'project', limits: options.project },
    { id: keyId, kind: 'key', limits: options.key },
    { id: makerId ?? keyId, kind: 'key', limits: options.maker },
  ] as const
  for (const { id, kind, limits } of subjects) {
    if (limits === undefined) continue
    const columns = { ...limits, subject_id: id, account_id: accountId, kind } as never
    await query.insertInto('limits').values(columns).execute()
  }
  const balanceNano = options.balanceNano ?? 1_000_000_000_000n
  if (balanceNano > 0n) {
    const id = newId('led', systemSeams)
    await grant(database, { id, accountId, livemode: true, amountNano: balanceNano, reason: 'test' })
  }
  return payer
}

/** One more key of the same project, without limits or a maker. */
export async function addKey(database: Database, payer: Payer): Promise<Payer> {
  const keyId = newId('key', systemSeams)
  const { parentLineageId: _, ...rest } = payer
  await insertKey(database, { ...rest, keyId, lineageId: keyId })
  return { ...rest, keyId, lineageId: keyId }
}

async function insertKey(database: Database, payer: Payer): Promise<void> {
  await database.query
    .insertInto('api_keys')
    .values({
      id: payer.keyId,
      account_id: payer.accountId,
      project_id: payer.projectId,
      livemode: payer.livemode,
      name: 'test',
      secret_sha256: randomBytes(32),
      secret_tail: 'abcd',
      scopes: ['chat'],
      lineage_id: payer.lineageId,
      parent_lineage_id: payer.parentLineageId ?? null,
    })
    .execute()
}

/** A call that would hold 1,000 nano-USD and 100 tokens: 10 of input for 100, and 90 of output for 10 each. */
export function holdRequest(payer: Payer, changes: Partial<HoldRequest> = {}): HoldRequest {
  return {
    callId: newId('req', systemSeams),
    payer,
    inputNano: 100n,
    inputTokens: 10,
    outputPicoPerToken: 10_000n,
    outputTokensWanted: 90,
    outputTokensFloor: 90,
    upstreamCeilingNano: 800n,
    model: 'mesh/test-model',
    provider: 'test-provider',
    priceListId: 'prices_test',
    ...changes,
  }
}

export function extendRequest(
  request: HoldRequest,
  outputTokensHeld: number,
  outputTokensWanted: number,
): ExtendRequest {
  return {
    callId: request.callId,
    payer: request.payer,
    outputTokensHeld,
    outputTokensWanted,
    outputPicoPerToken: request.outputPicoPerToken,
    upstreamPicoPerToken: 8_000n,
  }
}

/** The end of a call that was held: paid for unless `totalNano` is nothing. Half of it goes to the provider. */
export function settlementOf(
  request: HoldRequest,
  held: { readonly heldNano: bigint; readonly outputTokens: number },
  changes: Partial<Settlement> = {},
): Settlement {
  const totalNano = changes.totalNano ?? held.heldNano
  return {
    callId: request.callId,
    payer: request.payer,
    heldNano: held.heldNano,
    heldTokens: request.inputTokens + held.outputTokens,
    totalNano,
    upstreamNano: totalNano / 2n,
    absorbed: [],
    tokens: totalNano === 0n ? 0 : request.inputTokens + held.outputTokens,
    provider: request.provider,
    event: {
      createdAt: new Date(),
      httpStatus: 200,
      stream: false,
      billingReason: totalNano === 0n ? 'upstream_error_not_billed' : 'completed',
      usageSource: 'reported',
      usageFlags: [],
      buckets: EMPTY_BUCKETS,
      attempts: [],
      routing: {},
      privacy: {},
      durationMs: 1,
    },
    receipt: {
      id: siblingId('rcpt', request.callId),
      payload: new TextEncoder().encode(JSON.stringify({ requestId: request.callId })),
    },
    ...changes,
  }
}

/** The decision as a granted one; throws where it is not. */
export function granted(decision: HoldDecision): HoldGranted {
  if (!decision.granted) throw new Error(`refused: ${decision.reason} ${decision.limit ?? ''}`)
  return decision
}

/** Sets the clock of the books of one database. */
export async function setClock(database: Database, moment: string): Promise<void> {
  await sql
    .raw(`create or replace function mesh_now() returns timestamptz language sql volatile
      as $$ select timestamptz '${moment}' $$`)
    .execute(database.query)
}

/** Sets the clock of the books of one database by so much, from where it goes on. */
export async function shiftClock(database: Database, by: string): Promise<void> {
  await sql
    .raw(`create or replace function mesh_now() returns timestamptz language sql volatile
      as $$ select clock_timestamp() + interval '${by}' $$`)
    .execute(database.query)
}

export interface Book {
  readonly balanceNano: bigint
  readonly heldNano: bigint
}

export async function bookOf(database: Database, { accountId, livemode }: Payer): Promise<Book> {
  const row = await database.query
    .selectFrom('balances')
    .select(['balance_nano', 'held_nano'])
    .where('account_id', '=', accountId)
    .where('livemode', '=', livemode)
    .executeTakeFirstOrThrow()
  return { balanceNano: row.balance_nano, heldNano: row.held_nano }
}

export async function heldCalls(database: Database): Promise<readonly CallId[]> {
  const rows = await database.query.selectFrom('holds').select('call_id').orderBy('call_id').execute()
  return rows.map((row) => row.call_id)
}

/** Locks every book from outside, so that nothing can be posted until it is released. */
export async function lockBooks(database: Database): Promise<{ release(): Promise<void> }> {
  const client = await database.connect()
  await client.query('begin')
  await client.query('select from balances order by account_id, livemode for update')
  return {
    async release() {
      await client.query('commit')
      await client.end()
    },
  }
}

/** Whether a statement of this database waits for a lock. */
export async function someoneWaits(database: Database): Promise<boolean> {
  const { rowCount } = await database.pool.query(
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return rowCount !== 0
}
