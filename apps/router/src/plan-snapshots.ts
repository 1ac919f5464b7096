import { createHash } from 'node:crypto'
import type { Catalog, EndpointId, ProtocolName, ProviderId } from '@mesh/catalog/catalog.ts'
import type { PriceList } from '@mesh/catalog/price-list.ts'
import { type EndpointHealth, freezeHealth, type HealthByEndpoint } from '@mesh/engine/endpoint-health.ts'
import { createPlanSnapshot, type PlanSnapshot, type ProviderPreference } from '@mesh/engine/plan-snapshot.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import { isSimulated } from '@mesh/simulator/providers.ts'
import { VERSION } from './version.ts'

/** The states that plans are made from, one for each world. Replaced whole, never changed in place. */
export interface PlanSnapshots {
  readonly live: NamedSnapshot
  readonly test: NamedSnapshot
}

/** A snapshot with what its name stands for, so that it can be kept. */
export interface NamedSnapshot extends PlanSnapshot {
  readonly content: SnapshotContent
}

/** For how long plans are made from one and the same health. */
export const HEALTH_EPOCH_MS = 5_000

export interface SnapshotParts {
  readonly catalog: Catalog
  readonly prices: PriceList
  readonly credentials: ReadonlySet<ProviderId>
  readonly enabledProviders: ReadonlySet<ProviderId>
  readonly preferences: ReadonlyMap<ProviderId, ProviderPreference>
  /** As it was seen of live endpoints. */
  readonly health: HealthByEndpoint
}

/** What a snapshot is made of, but for what its catalogue version and its price list name. */
export interface SnapshotContent {
  /** The version of MESH that planned. */
  readonly mesh: string
  readonly catalog: string
  readonly prices: string
  readonly protocols: readonly ProtocolName[]
  readonly credentials: readonly ProviderId[]
  readonly enabled: readonly ProviderId[]
  readonly preferences: readonly (readonly [ProviderId, ProviderPreference])[]
  readonly health: readonly (readonly [EndpointId, EndpointHealth])[]
}

/**
 * Makes the snapshots of a router. What an operator sets for providers, and how they do, counts for live calls alone:
 * simulators are always there. A snapshot that would be the same as before is the one before.
 */
export function createPlanSnapshots(parts: SnapshotParts, before?: PlanSnapshots): PlanSnapshots {
  const simulated = new Set(parts.catalog.providers.map(({ id }) => id).filter(isSimulated))
  return {
    live: snapshotOf({ ...parts, health: freezeHealth(parts.health) }, before?.live),
    test: snapshotOf(
      { ...parts, enabledProviders: simulated, preferences: new Map(), health: new Map() },
      before?.test,
    ),
  }
}

function snapshotOf(parts: SnapshotParts, before: NamedSnapshot | undefined): NamedSnapshot {
  const content = contentOf(parts)
  const id = snapshotId(content)
  if (before?.id === id) return before
  const snapshot = createPlanSnapshot({
    id,
    catalog: parts.catalog,
    sellPrices: parts.prices.sell,
    protocolBuilt: (name) => protocolFor(name) !== undefined,
    takesParameter: (endpoint, name) => protocolFor(endpoint.protocol)?.takes(endpoint, name) ?? false,
    credentials: parts.credentials,
    enabledProviders: parts.enabledProviders,
    preferences: parts.preferences,
    health: parts.health,
  })
  return { ...snapshot, content }
}

function contentOf(parts: SnapshotParts): SnapshotContent {
  const { catalog, prices, credentials, enabledProviders, preferences, health } = parts
  const protocols = new Set(
    catalog.models.flatMap(({ endpoints }) => endpoints.map(({ protocol }) => protocol)),
  )
  return {
    mesh: VERSION,
    catalog: catalog.version,
    prices: prices.id,
    protocols: [...protocols].filter((name) => protocolFor(name)).sort(),
    credentials: [...credentials].sort(),
    enabled: [...enabledProviders].sort(),
    preferences: [...preferences].sort(([a], [b]) => (a < b ? -1 : 1)),
    health: [...health],
  }
}

/** `2026-11-23.0123456789abcdef/fedcba9876543210`: the catalogue, and a digest of everything else. */
function snapshotId(content: SnapshotContent): string {
  const digest = createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 16)
  return `${content.catalog}/${digest}`
}
