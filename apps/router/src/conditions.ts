import type { Catalog } from '@mesh/catalog/catalog.ts'
import { createModelIndex } from '@mesh/catalog/lookup.ts'
import type { PriceList } from '@mesh/catalog/price-list.ts'
import type { HealthByEndpoint } from '@mesh/engine/endpoint-health.ts'
import type { Transport } from '@mesh/engine/transport.ts'
import type { Simulator } from '@mesh/simulator/server.ts'
import type { Mesh, Terms } from './call/mesh.ts'
import { liveEngine, providersWithCredentials, testEngine } from './engines.ts'
import { createPlanSnapshots } from './plan-snapshots.ts'
import type { PriceBook } from './prices.ts'
import type { CredentialPools } from './providers/credential-pools.ts'
import { enabledProviders, type ProviderMemory } from './providers/provider-memory.ts'
import type { Settings } from './settings.ts'

/** What may change while a router runs. Each part is replaced whole, never changed in place. */
export type Conditions = Pick<Mesh, 'catalog' | 'models' | 'terms' | 'policy' | 'engines'>

/** What conditions are made from. */
export interface ConditionsInput {
  readonly catalog: Catalog
  /** Published already. */
  readonly prices: PriceBook
  readonly settings: Settings
  readonly providers: ProviderMemory
  /** As it was seen of live endpoints. */
  readonly health: HealthByEndpoint
  readonly pools: CredentialPools
  readonly transport: Transport
  readonly simulator: Simulator
}

/** Makes everything that hangs on catalogue, policy, prices and the operators' words on providers. */
export function conditionsOf(input: ConditionsInput): Conditions {
  const { catalog, settings, transport, simulator, providers, pools } = input
  const { policy } = settings
  return {
    catalog,
    models: createModelIndex(catalog),
    terms: termsOf(input),
    policy,
    engines: {
      live: liveEngine({ catalog, settings, transport, providers, pools }),
      test: testEngine(simulator, policy, transport),
    },
  }
}

/** Makes the terms alone. Where nothing changed for them, their snapshots are those of before. */
export function termsOf(
  {
    catalog,
    prices,
    settings,
    providers,
    health,
  }: Omit<ConditionsInput, 'transport' | 'simulator' | 'pools'>,
  before?: Mesh['terms'],
): Mesh['terms'] {
  const shared = {
    ...{ catalog, health },
    credentials: providersWithCredentials(catalog, settings),
    enabledProviders: enabledProviders(catalog, providers),
    preferences: providers.preferences(),
  }
  const termsAt = (list: PriceList, known: Terms | undefined): Terms => ({
    prices: list,
    snapshots: createPlanSnapshots({ ...shared, prices: list }, known?.snapshots),
  })
  return {
    standard: termsAt(prices.standard, before?.standard),
    byAccount: new Map(
      [...prices.byAccount].map(([id, list]) => [id, termsAt(list, before?.byAccount.get(id))]),
    ),
  }
}
