import { environmentVariable } from './environment.ts'
import { MeshClientError } from './errors.ts'

/** `mesh_live_` or `mesh_test_`, 43 characters of randomness, 6 of checksum. */
const MESH_KEY = /^mesh_(?:live|test)_[0-9A-Za-z]{49}$/
const MESH_KEY_BEGINNING = /^mesh_(?:live|test)_/

/**
 * Refuses what is no MESH key, so that another vendor's key never leaves the machine. The message never quotes it.
 * @throws MeshClientError `not_a_mesh_key` or `mistyped_key`.
 */
export function requireMeshKey(key: string, source: string): string {
  if (MESH_KEY.test(key)) return key
  if (MESH_KEY_BEGINNING.test(key)) {
    throw new MeshClientError(
      'mistyped_key',
      `${source} begins as a MESH key does but is not one: copy it again, all 59 characters of it. It was not sent.`,
    )
  }
  throw new MeshClientError(
    'not_a_mesh_key',
    `${source} is not a MESH key, so it was not sent: MESH keys begin with mesh_live_ or mesh_test_. Give apiKey, or set MESH_API_KEY.`,
  )
}

/**
 * The key that the environment holds: `MESH_API_KEY`, else `OPENAI_API_KEY` where that is a MESH key, as it is for
 * those who point OpenAI's own clients at MESH.
 * @throws MeshClientError `no_key`, or what `requireMeshKey` throws.
 */
export function keyOfEnvironment(): string {
  const own = environmentVariable('MESH_API_KEY')
  if (own !== undefined) return requireMeshKey(own, 'MESH_API_KEY')
  const shared = environmentVariable('OPENAI_API_KEY')
  if (shared !== undefined && MESH_KEY_BEGINNING.test(shared)) return requireMeshKey(shared, 'OPENAI_API_KEY')
  const hint =
    shared === undefined ? '' : ' OPENAI_API_KEY holds a key that is not one of MESH, so it is not used.'
  throw new MeshClientError('no_key', `There is no MESH key: give apiKey, or set MESH_API_KEY.${hint}`)
}
