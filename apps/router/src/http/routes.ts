import type { LimitVocabulary } from '../accounts/limit-schema.ts'
import type { OperatorMemory } from '../accounts/operator-memory.ts'
import type { Revocations } from '../accounts/revocations.ts'
import type { Mesh } from '../call/mesh.ts'
import type { Scrape } from '../metrics/exposition.ts'
import type { SigningKey } from '../records/signing-key.ts'
import type { Database } from '../storage/database.ts'
import { type Access, createAccess } from './authentication.ts'
import { registerInferenceRoutes } from './routes/inference.ts'
import { registerManagementRoutes } from './routes/management.ts'
import { operatorsOnly, registerMetricsRoute } from './routes/metrics.ts'
import { registerModelRoutes } from './routes/models.ts'
import { registerPlatformRoutes } from './routes/platform.ts'
import { registerRecordRoutes } from './routes/records.ts'
import type { Server } from './server.ts'

export interface RoutesOptions {
  readonly mesh: Mesh
  readonly database: Database
  readonly signingKey: SigningKey
  readonly revocations: Revocations
  readonly scrape: Scrape
  readonly operators: OperatorMemory
  /** Whether operators have a port of their own. */
  readonly hasAdminPort: boolean
}

/** Every route of the router's port. Without a port of their own, operators come here too. */
export function registerRoutes(server: Server, options: RoutesOptions): void {
  const { mesh, database, signingKey, hasAdminPort, operators, scrape } = options
  const access = createAccess(mesh.authenticator, database, hasAdminPort ? 'on_their_own_port' : 'welcome')
  registerPlatformRoutes(server, database)
  registerModelRoutes(server, mesh)
  registerInferenceRoutes(server, mesh)
  registerManagement(server, access, options)
  registerRecordRoutes(server, { database, signingKey, access, now: mesh.seams.now })
  if (!hasAdminPort) registerMetricsRoute(server, { scrape, authorize: operatorsOnly(access, operators) })
}

/** The routes of the operators' own port. Whoever reaches it may see the metrics. */
export function registerAdminRoutes(server: Server, options: RoutesOptions): void {
  const { mesh, database, scrape } = options
  registerPlatformRoutes(server, database)
  registerManagement(server, createAccess(mesh.authenticator, database), options)
  registerMetricsRoute(server, { scrape })
}

function registerManagement(
  server: Server,
  access: Access,
  { mesh, database, revocations }: RoutesOptions,
): void {
  const providers = new Set(mesh.catalog.providers.map(({ id }) => id))
  const vocabulary: LimitVocabulary = {
    modelId: (name) => mesh.models.resolve(name)?.id,
    hasProvider: (id) => providers.has(id),
  }
  const store = { database, seams: mesh.seams, revocations }
  registerManagementRoutes(server, { store, access, vocabulary, pseudonyms: mesh.pseudonyms })
}
