import type { Catalog, ProviderId } from '@mesh/catalog/catalog.ts'
import type { ProviderPreference } from '@mesh/engine/plan-snapshot.ts'
import type { Database } from '../storage/database.ts'
import {
  PROVIDER_DEFAULTS,
  type ProviderConfig,
  type ProviderConfigs,
  readProviderConfigs,
} from './provider-config.ts'

/** What is set for providers, as this router last read it: at its start, and at every notice of a change. */
export class ProviderMemory {
  readonly #database: Pick<Database, 'query'>
  #configs: ProviderConfigs = new Map()
  #reading: Promise<void> | undefined
  #isStale = false
  #onChange: () => void = () => {}

  constructor(database: Pick<Database, 'query'>) {
    this.#database = database
  }

  configOf(provider: ProviderId): ProviderConfig {
    return this.#configs.get(provider) ?? PROVIDER_DEFAULTS
  }

  /** How operators want the endpoints of one model to be used: of the providers for which they said so. */
  preferences(): ReadonlyMap<ProviderId, ProviderPreference> {
    const said = [...this.#configs].filter(
      ([, { priority, routingWeight }]) => priority !== 0 || routingWeight !== null,
    )
    return new Map(
      said.map(([id, { priority, routingWeight }]) => [
        id,
        { priority, ...(routingWeight === null ? {} : { weight: routingWeight }) },
      ]),
    )
  }

  /** Calls `task` after each time that it was read. */
  whenChanged(task: () => void): void {
    this.#onChange = task
  }

  /** Reads what is set now. What changes while it reads is read again, so that no change is missed. */
  refresh(): Promise<void> {
    this.#isStale = true
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false
      this.#configs = await readProviderConfigs(this.#database)
      this.#onChange()
    }
  }
}

/** The providers that may be in a plan. */
export function enabledProviders(
  { providers }: Pick<Catalog, 'providers'>,
  memory: Pick<ProviderMemory, 'configOf'>,
): ReadonlySet<ProviderId> {
  return new Set(providers.map(({ id }) => id).filter((id) => memory.configOf(id).enabled))
}
