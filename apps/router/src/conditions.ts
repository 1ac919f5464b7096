import type { Catalog } from '@mesh/catalog/catalog.ts'
import { createModelIndex } from '@mesh/catalog/lookup.ts'
import type { PriceList } from '@mesh/catalog/price-list.ts'
import type { PlanSnapshot } from '@mesh/engine/plan.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import type { Transport } from '@mesh/engine/transport.ts'
import type { Simulator } from '@mesh/simulator/server.ts'
import type { Mesh, Terms } from './call/mesh.ts'
import { liveEngine, providersWithCredentials, testEngine } from './engines.ts'
import type { Policy } from './policy.ts'
import type { PriceBook } from './prices.ts'
import { enabledProviders, type ProviderMemory } from './providers/provider-memory.ts'
import type { Settings } from './settings.ts'

/** What may change while a router runs. Each part is replaced whole, never changed in place. */
export type Conditions = Pick<Mesh, 'catalog' | 'models' | 'terms' | 'policy' | 'engines'>

/** What conditions are made from. */
export interface ConditionsInput {
  readonly catalog: Catalog
  readonly policy: Policy
  /** Published already. */
  readonly prices: PriceBook
  readonly settings: Settings
  readonly providers: ProviderMemory
  readonly transport: Transport
  readonly simulator: Simulator
}

/** Makes everything that hangs on catalogue, policy, prices and the operators' words on providers. */
export function conditionsOf(input: ConditionsInput): Conditions {
  const { catalog, policy, prices, transport, simulator, providers } = input
  const settings = { ...input.settings, policy }
  const termsOf = (list: PriceList): Terms => ({ prices: list, snapshot: snapshotOf(list, input) })
  return {
    catalog,
    models: createModelIndex(catalog),
    terms: {
      standard: termsOf(prices.standard),
      byAccount: new Map([...prices.byAccount].map(([id, list]) => [id, termsOf(list)])),
    },
    policy,
    engines: {
      live: liveEngine(catalog, settings, transport, providers),
      test: testEngine(simulator, policy, transport),
    },
  }
}

function snapshotOf(prices: PriceList, { catalog, settings, providers }: ConditionsInput): PlanSnapshot {
  return {
    id: `${catalog.version}/${prices.id}`,
    catalog,
    sellPrices: prices.sell,
    protocolBuilt: (name) => protocolFor(name) !== undefined,
    takesParameter: (endpoint, name) => protocolFor(endpoint.protocol)?.takes(endpoint, name) ?? false,
    credentials: providersWithCredentials(settings),
    enabledProviders: enabledProviders(catalog, providers),
  }
}
