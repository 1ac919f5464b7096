import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Simulator, startSimulator } from '@mesh/simulator/server.ts'
import type { Log, LogFields } from '../../src/log.ts'
import { type Router, startRouter } from '../../src/router.ts'
import { systemSeams } from '../../src/seams.ts'
import { readSettings } from '../../src/settings.ts'
import type { ConnectionOptions, Database } from '../../src/storage/database.ts'
import { createTestDatabase, type TestDatabase } from './test-database.ts'

/** A router in this process on a database of its own, reached over its real port. */
export interface TestRouter {
  readonly url: string
  /** The base URL that OpenAI's clients take. */
  readonly baseUrl: string
  readonly database: Database
  readonly router: Router
  /** The providers that its test keys reach: what they were asked, and the way to let held answers go on. */
  readonly simulator: Simulator
  /** Every line that the router logged. */
  readonly logged: readonly LoggedLine[]
  /** Sends JSON with a key and reads the answer. */
  request(method: string, path: string, options?: RequestOptions): Promise<Answered>
  /** A new account with a test key and test credit; live too where asked for. */
  account(options?: AccountOptions): Promise<TestAccount>
  stop(): Promise<void>
}

export interface LoggedLine {
  readonly level: string
  readonly message: string
  readonly fields: LogFields
}

export interface RequestOptions {
  readonly key?: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The body as JSON, loosely typed: tests look into it. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of a body is what it asserts
  readonly json: any
}

export interface AccountOptions {
  readonly creditUsd?: string
  readonly livemode?: boolean
  readonly scopes?: readonly string[]
  /** Limits of the key. */
  readonly limits?: Readonly<Record<string, unknown>>
}

export interface TestAccount {
  readonly id: string
  readonly projectId: string
  readonly keyId: string
  readonly key: string
}

export const ADMIN_KEY = 'test-admin-key-0123456789-0123456789'

/**
 * Starts a router. `environment` adds to its settings, `policy` is the file that MESH_SETTINGS names, `on` shares the
 * database of another one.
 */
export async function startTestRouter(
  options: {
    readonly environment?: Readonly<Record<string, string>>
    readonly policy?: unknown
    readonly on?: TestDatabase
  } = {},
): Promise<TestRouter> {
  const home = await mkdtemp(join(tmpdir(), 'mesh-router-'))
  const testDatabase = options.on ?? (await createTestDatabase())
  const signingKeyFile = join(home, 'signing-key.pem')
  await writeFile(signingKeyFile, signingKeyOf(testDatabase), { mode: 0o600 })
  const policyFile = join(home, 'policy.json')
  await writeFile(policyFile, JSON.stringify(options.policy ?? {}))
  const settings = readSettings(
    {
      PORT: '0',
      MESH_HOME: home,
      DATABASE_URL: connectionUrl(testDatabase.connection),
      MESH_SIGNING_KEY_FILE: signingKeyFile,
      MESH_ADMIN_KEY: ADMIN_KEY,
      MESH_SETTINGS: policyFile,
      ...options.environment,
    },
    home,
  )
  const logged: LoggedLine[] = []
  const simulator = await startSimulator()
  const router = await startRouter({
    settings,
    log: recordingLog(logged),
    seams: systemSeams,
    notice: () => {},
    simulator,
  }).catch(async (error: unknown) => {
    await simulator.close()
    throw error
  })
  const request = requester(router.url)
  return {
    url: router.url,
    baseUrl: `${router.url}/v1`,
    database: testDatabase.database(),
    router,
    simulator,
    logged,
    request,
    account: (wanted = {}) => makeAccount(request, wanted),
    async stop() {
      await router.stop()
      await simulator.close()
      if (!options.on) await testDatabase.close()
      await rm(home, { recursive: true, force: true })
    },
  }
}

const signingKeys = new WeakMap<TestDatabase, string>()

/** The signing key of a database's routers, in PEM form: all of them must have the same. */
export function signingKeyOf(testDatabase: TestDatabase): string {
  const key = signingKeys.get(testDatabase) ?? newSigningKey()
  signingKeys.set(testDatabase, key)
  return key
}

/** A new key as MESH_SIGNING_KEY_FILE takes it. */
export function newSigningKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519')
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/** A connection as the URL that DATABASE_URL takes; a socket folder goes into the query. */
export function connectionUrl(connection: ConnectionOptions): string {
  if ('url' in connection) return connection.url
  const { user, password, host, port, database } = connection
  const query = new URLSearchParams({ host, port: String(port) })
  return `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@/${database}?${query}`
}

/** Sends requests to a router, as any HTTP client would. */
export function requester(url: string): TestRouter['request'] {
  return async (method, path, { key, body, headers = {} } = {}) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: parseJson(text) }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Makes an account with a key, as an operator does it on a router that is reached by `request`. */
export async function makeAccount(
  request: TestRouter['request'],
  options: AccountOptions,
  adminKey = ADMIN_KEY,
): Promise<TestAccount> {
  const { creditUsd = '10.00', livemode = false, scopes = ['chat', 'usage', 'keys'], limits } = options
  const made = await request('POST', '/v1/accounts', { key: adminKey, body: { name: 'Tester' } })
  const { id, defaultProjectId } = expectStatus(made, 201)
  if (creditUsd !== '0') {
    const body = { amountUsd: creditUsd, reason: 'test', livemode }
    expectStatus(await request('POST', `/v1/accounts/${id}/grants`, { key: adminKey, body }), 201)
  }
  const body = { name: 'Test key', accountId: id, livemode, scopes, ...(limits ? { limits } : {}) }
  const key = expectStatus(await request('POST', '/v1/api-keys', { key: adminKey, body }), 201)
  return { id, projectId: defaultProjectId, keyId: key.id, key: key.secret }
}

function expectStatus(answered: Answered, status: number) {
  if (answered.status === status) return answered.json
  throw new Error(`expected ${status}, got ${answered.status}: ${answered.text}`)
}

function recordingLog(logged: LoggedLine[]): Log {
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      void logged.push({ level, message, fields })
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') }
}
