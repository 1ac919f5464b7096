import type { Catalog, Endpoint, Provider } from '@mesh/catalog/catalog.ts'
import { z } from 'zod'
import { providersWithCredentials } from '../../engines.ts'
import { MeshError } from '../../errors.ts'
import type { Seams } from '../../ids.ts'
import type { CredentialPools } from '../../providers/credential-pools.ts'
import { type HealthReport, healthOf } from '../../providers/health-report.ts'
import {
  changeProviderConfig,
  type ProviderConfig,
  providerConfigPatch,
} from '../../providers/provider-config.ts'
import type { ProviderMemory } from '../../providers/provider-memory.ts'
import type { Settings } from '../../settings.ts'
import type { Database } from '../../storage/database.ts'
import type { Access } from '../authentication.ts'
import type { Server } from '../server.ts'

export interface ProviderRoutesOptions {
  readonly catalog: () => Pick<Catalog, 'models' | 'providers'>
  /** As they count now. */
  readonly settings: () => Pick<Settings, 'credentials' | 'aws' | 'baseUrls'>
  readonly memory: ProviderMemory
  readonly pools: CredentialPools
  /** What every process of this machine saw of the endpoints lately. */
  readonly gatherHealth: () => Promise<readonly HealthReport[]>
  readonly database: Database
  readonly seams: Seams
}

/** `/v1/providers/health`: public. It tells of live endpoints; what test calls simulate is nobody's health. */
export function registerProviderHealthRoute(server: Server, options: ProviderRoutesOptions): void {
  server.get('/v1/providers/health', async () => {
    const reports = await options.gatherHealth()
    const { models, providers } = options.catalog()
    const endpoints = models.flatMap((model) => model.endpoints)
    return {
      object: 'list',
      window: '5m',
      data: providers.map((provider) => healthView(provider, endpoints, reports, options)),
    }
  })
}

/** `/v1/providers/config`: for operators. Credentials are told as there or not there. */
export function registerProviderConfigRoutes(
  server: Server,
  access: Access,
  options: ProviderRoutesOptions,
): void {
  const { catalog, memory, database, seams } = options
  const onRequest = access.authenticated

  server.get('/v1/providers/config', { onRequest }, async (request) => {
    await access.requireOperator(request)
    const data = catalog().providers.map((provider) =>
      configView(provider, memory.configOf(provider.id), options),
    )
    return { object: 'list', data }
  })

  server.patch(
    '/v1/providers/config/:provider',
    { onRequest, schema: { params: z.object({ provider: z.string() }), body: providerConfigPatch } },
    async (request) => {
      const operator = await access.requireOperator(request)
      const { provider: id } = request.params
      const store = { database, seams, catalog: catalog() }
      const config = await changeProviderConfig(store, operator, id, request.body)
      // The notice reaches this router too, but whoever asked may look at once.
      await memory.refresh()
      const provider = catalog().providers.find((each) => each.id === id)
      if (!provider) throw new MeshError('not_found', 'There is no such provider.')
      return configView(provider, config, options)
    },
  )
}

function configView(
  { id, name, baseUrl }: Provider,
  config: ProviderConfig,
  { catalog, settings, pools }: ProviderRoutesOptions,
) {
  const credentials = settings().credentials.get(id) ?? []
  return {
    provider: id,
    name,
    hasCredential: providersWithCredentials(catalog(), settings()).has(id),
    // As this process finds them: each has its own calls.
    credentials: pools.standings(id, credentials),
    baseUrl: hostOf(settings().baseUrls.get(id) ?? baseUrl),
    ...config,
  }
}

/** A base URL without what an operator may have hidden in it: user, password and query. */
function hostOf(baseUrl: string): string {
  const url = URL.parse(baseUrl)
  return url ? `${url.origin}${url.pathname.replace(/\/$/, '')}` : baseUrl
}

function healthView(
  { id, name }: Provider,
  endpoints: readonly Endpoint[],
  reports: readonly HealthReport[],
  { catalog, settings, memory }: ProviderRoutesOptions,
) {
  const own = endpoints.filter(({ provider }) => provider === id)
  const models = own.map((endpoint) => ({ model: endpoint.model, ...healthOf(reports, endpoint.id) }))
  const isServing = providersWithCredentials(catalog(), settings()).has(id) && memory.configOf(id).enabled
  return { provider: id, name, status: isServing ? statusOf(models) : 'unavailable', models }
}

function statusOf(
  models: readonly { readonly breaker: string; readonly successRate: number | null }[],
): 'operational' | 'degraded' | 'down' | 'unknown' {
  const stopped = models.filter(({ breaker }) => breaker !== 'closed').length
  if (models.length > 0 && stopped === models.length) return 'down'
  if (stopped > 0 || models.some(({ successRate }) => successRate !== null && successRate < DEGRADED_BELOW))
    return 'degraded'
  return models.some(({ successRate }) => successRate !== null) ? 'operational' : 'unknown'
}

const DEGRADED_BELOW = 0.95
