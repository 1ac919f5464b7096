import type { Catalog } from '@mesh/catalog/catalog.ts'
import { loadCatalog } from '@mesh/catalog/load.ts'
import type { Policy } from './policy.ts'
import { StartupError } from './storage/startup-error.ts'

/**
 * The catalogue that comes with MESH, with what the operator lays over it.
 * @throws StartupError that names every wrong row.
 */
export function catalogOf({ catalog }: Pick<Policy, 'catalog'>): Catalog {
  try {
    return loadCatalog(catalog)
  } catch (error) {
    const problems = error instanceof Error ? error.message.replaceAll('\n', ' ') : 'it cannot be used.'
    throw new StartupError(`The catalogue of MESH_SETTINGS is refused: ${problems}`)
  }
}
