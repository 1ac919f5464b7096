import { MeshError } from '../errors.ts'
import type { Sensitive } from '../sensitive.ts'
import type { Database } from '../storage/database.ts'
import { withinPatience } from '../storage/patience.ts'
import { operatorAmong, readOperatorKeys, type StoredOperatorKey } from './operator-keys.ts'

/** How long whoever looks at a router waits for its database. */
const PATIENCE_MS = 1_000

/**
 * Knows operators also while the database is away, by what it last said. For what moves nothing: what operators look
 * at then. A key that was withdrawn meanwhile is still known until the database is back.
 */
export class OperatorMemory {
  readonly #database: Pick<Database, 'query'>
  #keys: readonly StoredOperatorKey[] | undefined

  constructor(database: Pick<Database, 'query'>) {
    this.#database = database
  }

  /** Reads the keys, or leaves it after a second where the database does not answer. Never rejects. */
  async refresh(): Promise<void> {
    await withinPatience(readOperatorKeys(this.#database), PATIENCE_MS).then(
      (keys) => {
        this.#keys = keys
      },
      () => undefined,
    )
  }

  /** @throws MeshError `invalid_api_key` for whoever is no operator, `storage_unavailable` before any key was read. */
  async authenticate(secret: Sensitive<string>): Promise<void> {
    await this.refresh()
    if (!this.#keys) {
      throw new MeshError('storage_unavailable', 'The database cannot serve at the moment; try again later.')
    }
    if (!operatorAmong(this.#keys, secret)) {
      throw new MeshError('invalid_api_key', 'MESH does not know this operator key.')
    }
  }
}
