import type { LimitVocabulary } from '../accounts/limit-schema.ts'
import type { Mesh } from '../call/mesh.ts'
import type { SigningKey } from '../records/signing-key.ts'
import type { Database } from '../storage/database.ts'
import { createAccess } from './authentication.ts'
import { registerInferenceRoutes } from './routes/inference.ts'
import { registerManagementRoutes } from './routes/management.ts'
import { registerModelRoutes } from './routes/models.ts'
import { registerPlatformRoutes } from './routes/platform.ts'
import { registerRecordRoutes } from './routes/records.ts'
import type { Server } from './server.ts'

export interface RoutesOptions {
  readonly mesh: Mesh
  readonly database: Database
  readonly signingKey: SigningKey
}

/** Every route of the router. */
export function registerRoutes(server: Server, { mesh, database, signingKey }: RoutesOptions): void {
  const access = createAccess(mesh.authenticator, database)
  const store = { database, seams: mesh.seams }
  const providers = new Set(mesh.catalog.providers.map(({ id }) => id))
  const vocabulary: LimitVocabulary = {
    modelId: (name) => mesh.models.resolve(name)?.id,
    hasProvider: (id) => providers.has(id),
  }
  registerPlatformRoutes(server, database)
  registerModelRoutes(server, mesh)
  registerInferenceRoutes(server, mesh)
  registerManagementRoutes(server, { store, access, vocabulary, pseudonyms: mesh.pseudonyms })
  registerRecordRoutes(server, { database, signingKey, access, now: mesh.seams.now })
}
