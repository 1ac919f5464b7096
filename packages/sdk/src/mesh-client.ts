import OpenAI, { type APIPromise, type ClientOptions } from 'openai'
import type {
  CountTokensParams,
  MeshCallFields,
  MeshChat,
  MeshEmbeddingCalls,
  MeshResponses,
  Ranking,
  RerankParams,
  RouteParams,
  RoutePlan,
  TokenCount,
} from './call.ts'
import { environmentVariable } from './environment.ts'
import { MeshClientError } from './errors.ts'
import { keyOfEnvironment, requireMeshKey } from './mesh-key.ts'
import { Accounts } from './resources/accounts.ts'
import { Audit } from './resources/audit.ts'
import { Keys } from './resources/keys.ts'
import { Ledger } from './resources/ledger.ts'
import { Logs } from './resources/logs.ts'
import { Models } from './resources/models.ts'
import { Monitoring } from './resources/monitoring.ts'
import { Projects } from './resources/projects.ts'
import { Providers } from './resources/providers.ts'
import { Receipts } from './resources/receipts.ts'
import { Usage } from './resources/usage.ts'

/** Where MESH is, unless `baseURL` or `MESH_BASE_URL` says otherwise. */
export const DEFAULT_BASE_URL = 'https://api.meshrouter.app/v1'

/** What OpenAI's client takes and MESH has a use for. */
type SharedOptions = Pick<
  ClientOptions,
  | 'timeout'
  | 'maxRetries'
  | 'fetch'
  | 'fetchOptions'
  | 'defaultHeaders'
  | 'defaultQuery'
  | 'dangerouslyAllowBrowser'
  | 'logLevel'
  | 'logger'
>

export interface MeshClientOptions extends SharedOptions {
  /**
   * A MESH key, or what gives one for each request. Where it is not given: `MESH_API_KEY`, else `OPENAI_API_KEY` where
   * that is a MESH key.
   */
  readonly apiKey?: string | (() => Promise<string>) | undefined
  /** With its `/v1`. Where it is not given: `MESH_BASE_URL`, else `DEFAULT_BASE_URL`. `OPENAI_BASE_URL` is not read. */
  readonly baseURL?: string | undefined
  /** For operators: sent with what only they may do, and with nothing else. Never read from the environment. */
  readonly operatorKey?: string | undefined
}

type RequestInit = Parameters<OpenAI['fetchWithTimeout']>[1]
type RequestContext = { readonly url: string; readonly options: RequestOptions }
type RequestOptions = Awaited<Parameters<OpenAI['request']>[0]>

/** What is billed, by the end of its path: it carries an `Idempotency-Key`, so that a retry never costs again. */
const BILLABLE = /\/(?:chat\/completions|responses|embeddings|rerank|messages)$/
const IDEMPOTENCY_KEY_BYTES = 16

/**
 * A client of MESH: OpenAI's own client, whose calls also take `models`, `route`, `provider` and `privacy`, and with
 * what OpenAI's lacks. Every billable call carries an `Idempotency-Key`, the same on its retries, so it is charged at
 * most once. In a browser it wants `dangerouslyAllowBrowser: true`, for whoever reads the page then has the key.
 * @example
 * const mesh = new MeshClient()
 * const answer = await mesh.chat.completions.create({
 *   model: 'mesh/claude-sonnet-4.5',
 *   models: ['mesh/llama-4-maverick'],
 *   messages: [{ role: 'user', content: 'hello' }],
 * })
 * console.log(answer.choices[0]?.message.content, answer.usage.cost_details.total)
 */
export class MeshClient extends OpenAI {
  declare chat: MeshChat & OpenAI['chat']
  declare responses: MeshResponses & OpenAI['responses']
  declare embeddings: MeshEmbeddingCalls & OpenAI['embeddings']
  override models: Models = new Models(this)
  readonly accounts: Accounts
  readonly audit = new Audit(this)
  readonly keys = new Keys(this)
  readonly ledger = new Ledger(this)
  readonly logs = new Logs(this)
  readonly monitoring = new Monitoring(this)
  readonly projects = new Projects(this)
  readonly providers = new Providers(this)
  readonly receipts = new Receipts(this)
  readonly usage = new Usage(this)
  readonly #operatorKey: string | undefined

  /** @throws MeshClientError where there is no key, or one that is not MESH's. */
  constructor(options: MeshClientOptions = {}) {
    super({
      ...options,
      apiKey: keyGiven(options.apiKey),
      // OpenAI's client takes an empty one for OpenAI's own, and would send the key there.
      baseURL: options.baseURL?.trim() || environmentVariable('MESH_BASE_URL') || DEFAULT_BASE_URL,
      // OpenAI's client would read these from the environment, and they are nobody's business here.
      adminAPIKey: null,
      organization: null,
      project: null,
      webhookSecret: null,
    })
    this.#operatorKey = options.operatorKey
    this.accounts = new Accounts(this, options.operatorKey)
  }

  /** What would become of a call: who would serve it, and what it could cost. It is free and leaves nothing behind. */
  route(body: RouteParams, options?: OpenAI.RequestOptions): APIPromise<RoutePlan> {
    return this.post('/route', { body, ...options })
  }

  /** Orders documents by how well they answer a query. */
  rerank(body: RerankParams, options?: OpenAI.RequestOptions): APIPromise<Ranking> {
    return this.post('/rerank', { body, ...options })
  }

  /** Counts the tokens of texts or messages. It is free and leaves nothing behind. */
  countTokens(body: CountTokensParams, options?: OpenAI.RequestOptions): APIPromise<TokenCount> {
    return this.post('/tokens/count', { body, ...options })
  }

  /** The last moment before a request leaves, its retries included: whatever must not leave is stopped here. */
  protected override async prepareRequest(request: RequestInit, context: RequestContext): Promise<void> {
    const { options, url } = context
    const headers = new Headers(request?.headers)
    requireThisMesh(url, this.baseURL)
    requireKeysOfMesh(headers, this.#operatorKey)
    requireSealable(request?.body)
    if (request && options.method === 'post' && BILLABLE.test(new URL(url).pathname)) {
      options.idempotencyKey ??= newIdempotencyKey()
      if (!headers.has('idempotency-key')) headers.set('idempotency-key', options.idempotencyKey)
      request.headers = headers
    }
    await super.prepareRequest(request as never, context)
  }
}

function keyGiven(apiKey: MeshClientOptions['apiKey']): string | (() => Promise<string>) {
  // What a function gives is looked at before it is put into a header: a header that cannot carry it would quote it.
  if (typeof apiKey === 'function') return async () => requireMeshKey((await apiKey()).trim(), 'apiKey')
  return apiKey === undefined || apiKey === '' ? keyOfEnvironment() : requireMeshKey(apiKey.trim(), 'apiKey')
}

/** OpenAI's client takes whole URLs for paths, and sends the key along wherever they lead. */
function requireThisMesh(url: string, baseURL: string): void {
  if (new URL(url).origin === new URL(baseURL).origin) return
  throw new MeshClientError(
    'not_this_mesh',
    'The URL of this request is not of the MESH that baseURL names, so nothing was sent. Give a path, or make a client with another baseURL.',
  )
}

/** However a key came into a header, by options, by a function or by `OPENAI_CUSTOM_HEADERS`: only MESH's leave. */
function requireKeysOfMesh(headers: Headers, operatorKey: string | undefined): void {
  const authorization = headers.get('authorization')
  const bearer = authorization === null ? undefined : authorization.replace(/^Bearer /, '')
  const presented = [bearer, headers.get('api-key') ?? undefined, headers.get('x-api-key') ?? undefined]
  for (const key of presented) {
    if (key !== undefined && key !== operatorKey) requireMeshKey(key, 'The key of this request')
  }
}

/** Only a sealed call may say `privacy.mode: 'mesh'`, and sealing is not in this version: in the clear it must not go. */
function requireSealable(body: unknown): void {
  if (typeof body !== 'string' || !body.includes('"privacy"') || !body.includes('"mesh"')) return
  const { privacy } = JSON.parse(body) as MeshCallFields
  if (privacy?.mode !== 'mesh') return
  throw new MeshClientError(
    'sealing_not_available',
    "privacy: { mode: 'mesh' } wants a sealed call, which this version of the SDK cannot make; nothing was sent. Leave it out, or use min_class to set a floor.",
  )
}

function newIdempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(IDEMPOTENCY_KEY_BYTES))
  return `mesh-sdk-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`
}
