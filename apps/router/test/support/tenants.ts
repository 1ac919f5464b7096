import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { startSimulator } from '@mesh/simulator/server.ts'
import { sql } from 'kysely'
import { makeSecret } from '../../src/accounts/key-secret.ts'
import { ensureOperatorKey } from '../../src/accounts/operator-keys.ts'
import { systemSeams } from '../../src/seams.ts'
import { Sensitive } from '../../src/sensitive.ts'
import type { Database } from '../../src/storage/database.ts'
import { chat, eventOf, requestIdOf, send } from './calls.ts'
import { ADMIN_KEY, startTestRouter, type TestRouter } from './test-router.ts'

/** What a key may do in all. */
export const ALL_SCOPES = ['chat', 'usage', 'keys', 'billing'] as const

export interface TenantKey {
  readonly id: string
  readonly secret: string
  readonly projectId: string
}

/** Ids of one account's rows in one world. */
export interface World {
  /** Made by an operator, with every scope. */
  readonly key: TenantKey
  readonly eventId: string
  readonly receiptId: string
}

/** An account with something in each of its two worlds. */
export interface Tenant {
  readonly accountId: string
  readonly projectId: string
  /** A project that is not its default one, with a live key in it. */
  readonly otherProjectId: string
  readonly live: World
  readonly test: World
}

/** A router with a provider for each world, and tenants that have used it. */
export interface Tenants extends AsyncDisposable {
  readonly mesh: TestRouter
  /** An operator key that was withdrawn. */
  readonly withdrawnOperatorKey: string
  tenant(name: string): Promise<Tenant>
  makeKey(body: Readonly<Record<string, unknown>>, by?: string): Promise<TenantKey>
  /** Asks as an operator and expects to be served. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of a body is what it asserts
  ask(method: string, path: string, body?: unknown, key?: string): Promise<any>
}

/** The model that both worlds' simulators serve. */
export const MODEL = 'mesh/gpt-4o-mini'

/** Starts a router whose live world reaches a simulator too: a credential and a base URL make it a provider. */
export async function startTenants(): Promise<Tenants> {
  const provider = await startSimulator()
  const mesh = await startTestRouter({
    environment: {
      OPENAI_API_KEY: 'sk-live',
      MESH_OPENAI_BASE_URL: provider.baseUrl('openai'),
      NEARAI_API_KEY: 'sk-live',
      MESH_NEARAI_BASE_URL: provider.baseUrl('nearai'),
    },
  })
  const ask: Tenants['ask'] = async (method, path, body, key = ADMIN_KEY) => {
    const answer = await mesh.request(method, path, { key, ...(body === undefined ? {} : { body }) })
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.text}`)
    return answer.json
  }
  const makeKey: Tenants['makeKey'] = async (body, by = ADMIN_KEY) => {
    const { id, secret, projectId } = await ask('POST', '/v1/api-keys', { name: 'A key', ...body }, by)
    return { id, secret, projectId }
  }
  const world = async (accountId: string, livemode: boolean): Promise<World> => {
    const body = { amountUsd: '10', reason: 'start', livemode }
    await ask('POST', `/v1/accounts/${accountId}/grants`, body)
    const key = await makeKey({ accountId, livemode, scopes: ALL_SCOPES })
    const answer = await send(mesh, key.secret, chat(undefined, { max_tokens: 8 }))
    assert.equal(answer.status, 200, answer.text)
    const event = await eventOf(mesh, key.secret, requestIdOf(answer))
    // A receipt is signed when it is first read; from here on reading it changes nothing.
    await ask('GET', '/v1/receipts', undefined, key.secret)
    return { key, eventId: event.id, receiptId: event.receiptId }
  }
  return {
    mesh,
    withdrawnOperatorKey: await withdrawOperatorKey(mesh.database),
    ask,
    makeKey,
    async tenant(name) {
      const { id: accountId, defaultProjectId } = await ask('POST', '/v1/accounts', { name })
      const other = await ask('POST', '/v1/projects', { name: `${name}, another project`, accountId })
      await makeKey({ accountId, projectId: other.id, livemode: true, name: `${name}, another key` })
      return {
        accountId,
        projectId: defaultProjectId,
        otherProjectId: other.id,
        live: await world(accountId, true),
        test: await world(accountId, false),
      }
    },
    async [Symbol.asyncDispose]() {
      await mesh.stop()
      await provider.close()
    },
  }
}

/** A start with another key in the setting withdraws the one before; the start after that takes its own back. */
async function withdrawOperatorKey(database: Database): Promise<string> {
  const secret = 'a-key-of-an-operator-who-has-left-us'
  for (const configured of [secret, ADMIN_KEY]) {
    const options = { database, seams: systemSeams, file: '/nowhere', isShared: true }
    await ensureOperatorKey({ ...options, configured: new Sensitive(configured) })
  }
  return secret
}

/** A secret as MESH makes them, that no key has. */
export function unknownSecret(livemode: boolean): string {
  return makeSecret(livemode, systemSeams)
}

/**
 * One line for every table that knows accounts: the rows of this one, hashed. Tables are found by their columns, so
 * that one which is added later is looked at too.
 */
export async function digestOf(database: Database, accountId: string): Promise<Record<string, string>> {
  const { rows: tables } = await sql<{ name: string; column: string }>`
    select relname as name, attname as column from pg_class
      join pg_attribute on attrelid = pg_class.oid
      join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = current_schema() and relkind in ('r', 'p') and not relispartition
      and (attname = 'account_id' or relname = 'accounts' and attname = 'id')
    order by relname`.execute(database.query)
  const digests = await Promise.all(
    tables.map(async ({ name, column }) => {
      const { rows } = await sql<{ line: string }>`
        select t::text as line from ${sql.table(name)} t where t.${sql.ref(column)} = ${accountId}
        order by 1`.execute(database.query)
      const hash = createHash('sha256').update(rows.map(({ line }) => line).join('\n'))
      return [name, `${rows.length} rows ${hash.digest('hex')}`] as const
    }),
  )
  return Object.fromEntries(digests)
}

/** Everything that names an account's rows: none of it may reach anybody else. */
export async function idsOf(database: Database, { accountId }: Tenant): Promise<readonly string[]> {
  const lists = await Promise.all(
    (['projects', 'api_keys', 'events', 'receipts', 'ledger_entries', 'audit_events'] as const).map(
      async (table) =>
        (
          await sql<{
            id: string
          }>`select id from ${sql.table(table)} where account_id = ${accountId}`.execute(database.query)
        ).rows.map(({ id }) => id),
    ),
  )
  return [accountId, ...lists.flat()]
}
