import type { LimitVocabulary } from '../accounts/limit-schema.ts'
import type { OperatorMemory } from '../accounts/operator-memory.ts'
import type { Revocations } from '../accounts/revocations.ts'
import type { MeshNow } from '../mesh-now.ts'
import type { Scrape } from '../metrics/exposition.ts'
import type { SigningKey } from '../records/signing-key.ts'
import type { Database } from '../storage/database.ts'
import type { TokenCounting } from '../tokens/token-counting.ts'
import { type Access, createAccess } from './authentication.ts'
import { registerDocumentRoutes } from './routes/documents.ts'
import { registerInferenceRoutes } from './routes/inference.ts'
import { registerManagementRoutes } from './routes/management.ts'
import { operatorsOnly, registerMetricsRoute } from './routes/metrics.ts'
import { registerModelRoutes } from './routes/models.ts'
import { registerPlatformRoutes } from './routes/platform.ts'
import {
  type ProviderRoutesOptions,
  registerProviderConfigRoutes,
  registerProviderHealthRoute,
} from './routes/providers.ts'
import { registerRecordRoutes } from './routes/records.ts'
import { registerRouteRoute } from './routes/route.ts'
import { registerTokenCountRoutes } from './routes/token-counts.ts'
import type { Server } from './server.ts'

export interface RoutesOptions {
  readonly meshNow: MeshNow
  readonly providers: ProviderRoutesOptions
  readonly database: Database
  readonly signingKey: SigningKey
  readonly revocations: Revocations
  readonly scrape: Scrape
  readonly tokenCounting: TokenCounting
  readonly operators: OperatorMemory
  /** Whether operators have a port of their own. */
  readonly hasAdminPort: boolean
}

/** Every route of the router's port. Without a port of their own, operators come here too. */
export function registerRoutes(server: Server, options: RoutesOptions): void {
  const { meshNow, database, signingKey, hasAdminPort, operators, scrape } = options
  const mesh = meshNow.current
  const access = createAccess(mesh.authenticator, database, hasAdminPort ? 'on_their_own_port' : 'welcome')
  registerPlatformRoutes(server, database)
  registerDocumentRoutes(server)
  registerModelRoutes(server, meshNow)
  registerInferenceRoutes(server, meshNow)
  registerRouteRoute(server, meshNow)
  registerTokenCountRoutes(server, meshNow, options.tokenCounting)
  registerProviderHealthRoute(server, options.providers)
  registerManagement(server, access, options)
  registerRecordRoutes(server, { database, signingKey, access, now: mesh.seams.now })
  if (!hasAdminPort) registerMetricsRoute(server, { scrape, authorize: operatorsOnly(access, operators) })
}

/** The routes of the operators' own port. Whoever reaches it may see the metrics. */
export function registerAdminRoutes(server: Server, options: RoutesOptions): void {
  const { meshNow, database, scrape } = options
  registerPlatformRoutes(server, database)
  registerManagement(server, createAccess(meshNow.current.authenticator, database), options)
  registerMetricsRoute(server, { scrape })
}

function registerManagement(
  server: Server,
  access: Access,
  { meshNow, database, revocations, providers }: RoutesOptions,
): void {
  const { seams, pseudonyms } = meshNow.current
  const vocabulary: LimitVocabulary = {
    modelId: (name) => meshNow.current.models.resolve(name)?.id,
    hasProvider: (id) => meshNow.current.catalog.providers.some((provider) => provider.id === id),
  }
  const store = { database, seams, revocations }
  registerManagementRoutes(server, { store, access, vocabulary, pseudonyms })
  registerProviderConfigRoutes(server, access, providers)
}
