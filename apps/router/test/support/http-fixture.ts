import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Authenticator, createAuthenticator } from '../../src/accounts/authenticate.ts'
import type { LimitVocabulary } from '../../src/accounts/limit-schema.ts'
import { ensureOperatorKey } from '../../src/accounts/operator-keys.ts'
import { createPseudonyms } from '../../src/call/pseudonyms.ts'
import { createAccess } from '../../src/http/authentication.ts'
import { registerManagementRoutes } from '../../src/http/routes/management.ts'
import { createServer, DEFAULT_HTTP_BOUNDS, type HttpBounds, type Server } from '../../src/http/server.ts'
import type { AccountId, KeyId } from '../../src/ids.ts'
import type { Log, LogFields } from '../../src/log.ts'
import { systemSeams } from '../../src/seams.ts'
import type { Database } from '../../src/storage/database.ts'
import { createTestDatabase } from './test-database.ts'

/** An answer with its body read as JSON. Fields are looked at as what the test expects them to be. */
export interface JsonAnswer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: a test names the fields that it expects and fails where they are not.
  readonly body: any
}

export interface RequestParts {
  readonly key?: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface LogLine {
  readonly message: string
  readonly fields: LogFields
}

export interface HttpFixture extends AsyncDisposable {
  readonly url: string
  readonly server: Server
  readonly database: Database
  readonly authenticator: Authenticator
  readonly operatorKey: string
  readonly logLines: readonly LogLine[]
  /** Opens one more set of connections, as one more router would. */
  openDatabase(): Database
  request(method: string, path: string, parts?: RequestParts): Promise<JsonAnswer>
  /** A new account's id. */
  createAccount(name?: string): Promise<AccountId>
  /** Makes a key as the operator, in a new account where none is named; `keys` is among its scopes unless said. */
  createKey(body?: Record<string, unknown>): Promise<MadeKey>
}

export interface MadeKey {
  readonly id: KeyId
  readonly secret: string
  readonly accountId: AccountId
  readonly limits: Readonly<Record<string, unknown>>
}

/** The models and providers of the fixture. */
const vocabulary: LimitVocabulary = {
  modelId: (name) =>
    /^(mesh\/)?alpha$/.test(name) ? 'mesh/alpha' : name === 'mesh/beta' ? 'mesh/beta' : undefined,
  hasProvider: (id) => id === 'anthropic' || id === 'openai',
}

/** A server with the management routes over a database of its own, listening on a free port. */
export async function startHttpFixture(
  options: { readonly bounds?: Partial<HttpBounds>; readonly addRoutes?: (server: Server) => void } = {},
): Promise<HttpFixture> {
  const testDatabase = await createTestDatabase()
  const database = testDatabase.database()
  const home = await mkdtemp(join(tmpdir(), 'mesh-home-'))
  const keyFile = join(home, 'admin-key')
  await ensureOperatorKey({ database, seams: systemSeams, file: keyFile, isShared: false })
  const operatorKey = (await readFile(keyFile, 'utf8')).trim()
  const logLines: LogLine[] = []
  const authenticator = createAuthenticator({ database, seams: systemSeams, cachedKeysMax: 100 })
  const server = createServer({
    bounds: { ...DEFAULT_HTTP_BOUNDS, ...options.bounds },
    log: collectingLog(logLines),
    seams: systemSeams,
  })
  registerManagementRoutes(server, {
    store: { database, seams: systemSeams },
    access: createAccess(authenticator, database),
    vocabulary,
    pseudonyms: createPseudonyms(Buffer.alloc(32, 7)),
  })
  options.addRoutes?.(server)
  const url = await server.listen({ port: 0, host: '127.0.0.1' })

  const request: HttpFixture['request'] = async (method, path, { key, body, headers } = {}) => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return {
      status: answer.status,
      headers: answer.headers,
      body: text === '' ? undefined : JSON.parse(text),
    }
  }

  const createAccount: HttpFixture['createAccount'] = async (name = 'An account') => {
    const { status, body } = await request('POST', '/v1/accounts', { key: operatorKey, body: { name } })
    assert.equal(status, 201)
    return body.id
  }

  return {
    url,
    server,
    database,
    authenticator,
    operatorKey,
    logLines,
    openDatabase: () => testDatabase.database(),
    request,
    createAccount,
    async createKey(asked = {}) {
      const accountId = asked.accountId ?? (await createAccount())
      const { status, body } = await request('POST', '/v1/api-keys', {
        key: operatorKey,
        body: { name: 'A key', scopes: ['chat', 'usage', 'keys'], livemode: true, ...asked, accountId },
      })
      assert.equal(status, 201, JSON.stringify(body))
      return { id: body.id, secret: body.secret, accountId: body.accountId, limits: body.limits }
    },
    async [Symbol.asyncDispose]() {
      await server.close()
      await testDatabase.close()
      await rm(home, { recursive: true })
    },
  }
}

function collectingLog(lines: LogLine[]): Log {
  const write = (message: string, fields: LogFields = {}): void => void lines.push({ message, fields })
  return { error: write, warn: write, info: write, debug: write }
}
