import type { Catalog, ProviderId } from '@mesh/catalog/catalog.ts'
import { sql } from 'kysely'
import { z } from 'zod'
import { recordAudit } from '../accounts/audit.ts'
import type { Operator } from '../accounts/operator-keys.ts'
import { POLICY_CHANNEL, PROVIDERS_NOTICE } from '../accounts/policy-notice.ts'
import { MeshError } from '../errors.ts'
import type { Seams } from '../ids.ts'
import { type Database, inTransaction } from '../storage/database.ts'

/** What an operator sets for a provider. It counts for live calls alone: simulators are always there. */
export interface ProviderConfig {
  /** A provider that is not enabled is in no plan; calls that run there go on. */
  readonly enabled: boolean
  /** Among endpoints of one model a higher priority is tried first, whatever it costs. */
  readonly priority: number
  /** Among endpoints of one model and priority that have one, calls are spread in this proportion. */
  readonly routingWeight: number | null
  /** How long a streamed answer may take to begin; `null` is `calls.firstByteTimeoutMs`. */
  readonly timeoutMs: number | null
  /** Calls that one router runs there at once. */
  readonly maxConcurrency: number
  readonly circuitBreaker: {
    /** The share of failures of a minute at which calls are kept away. */
    readonly errorRate: number
    /** How long they are, before one may try again. */
    readonly cooldownMs: number
  }
}

export const PROVIDER_DEFAULTS: ProviderConfig = {
  enabled: true,
  priority: 0,
  routingWeight: null,
  timeoutMs: null,
  maxConcurrency: 5_000,
  circuitBreaker: { errorRate: 0.5, cooldownMs: 30_000 },
}

/** What is sent to change it; `null` goes back to the default. Unknown fields are refused. */
export const providerConfigPatch = z.strictObject({
  enabled: z.boolean().nullish(),
  priority: z.int().min(-100).max(100).nullish(),
  routingWeight: z.int().min(0).max(1_000).nullish(),
  timeoutMs: z.int().min(1_000).max(900_000).nullish(),
  maxConcurrency: z.int().min(1).max(100_000).nullish(),
  circuitBreaker: z
    .strictObject({
      errorRate: z.number().min(0.05).max(1).nullish(),
      cooldownMs: z.int().min(1_000).max(600_000).nullish(),
    })
    .nullish(),
})

export type ProviderConfigPatch = z.output<typeof providerConfigPatch>

/** What was set, as it is stored: the patches one over the other, without what went back to its default. */
const storedConfig = z.looseObject({
  enabled: z.boolean().optional(),
  priority: z.int().optional(),
  routingWeight: z.int().optional(),
  timeoutMs: z.int().optional(),
  maxConcurrency: z.int().optional(),
  circuitBreaker: z
    .looseObject({ errorRate: z.number().optional(), cooldownMs: z.int().optional() })
    .optional(),
})

type StoredConfig = z.output<typeof storedConfig>

export type ProviderConfigs = ReadonlyMap<ProviderId, ProviderConfig>

/** Reads what is set for every provider; one for which nothing is set has the defaults and no entry. */
export async function readProviderConfigs(database: Pick<Database, 'query'>): Promise<ProviderConfigs> {
  const rows = await database.query.selectFrom('provider_configs').select(['provider', 'config']).execute()
  return new Map(rows.map(({ provider, config }) => [provider, withDefaults(storedConfig.parse(config))]))
}

export interface ProviderStore {
  readonly database: Pick<Database, 'query'>
  readonly seams: Seams
  readonly catalog: Pick<Catalog, 'providers'>
}

/**
 * Changes what is set for a provider, with its audit event and a notice to every router, all or nothing.
 * @throws MeshError `not_found` for a provider that is not in the catalogue.
 */
export async function changeProviderConfig(
  { database, seams, catalog }: ProviderStore,
  operator: Operator,
  provider: ProviderId,
  patch: ProviderConfigPatch,
): Promise<ProviderConfig> {
  if (!catalog.providers.some(({ id }) => id === provider)) {
    const ids = catalog.providers.map(({ id }) => id).join(', ')
    throw new MeshError('not_found', `There is no such provider. There are: ${ids}.`)
  }
  return await inTransaction(database.query, async (transaction) => {
    await transaction
      .insertInto('provider_configs')
      .values({ provider })
      .onConflict((conflict) => conflict.column('provider').doNothing())
      .execute()
    const { config } = await transaction
      .selectFrom('provider_configs')
      .select('config')
      .where('provider', '=', provider)
      .forUpdate()
      .executeTakeFirstOrThrow()
    const before = storedConfig.parse(config)
    const after = patched(before, patch)
    await transaction
      .updateTable('provider_configs')
      .set({ config: JSON.stringify(after), changed_at: sql<Date>`now()` })
      .where('provider', '=', provider)
      .execute()
    await recordAudit(transaction, seams, {
      actor: operator.id,
      action: 'provider.config_updated',
      target: provider,
      before: { ...withDefaults(before) },
      after: { ...withDefaults(after) },
    })
    await sql`select pg_notify(${POLICY_CHANNEL}, ${PROVIDERS_NOTICE})`.execute(transaction)
    return withDefaults(after)
  })
}

function patched(before: StoredConfig, patch: ProviderConfigPatch): StoredConfig {
  const { circuitBreaker, ...plain } = patch
  const after = laidOver(before, plain)
  if (circuitBreaker === undefined) return after
  const breaker = circuitBreaker === null ? {} : laidOver(before.circuitBreaker ?? {}, circuitBreaker)
  return { ...after, circuitBreaker: breaker }
}

/** `undefined` leaves a value as it is, `null` takes it away. */
function laidOver<Values extends object>(values: Values, changes: object): Values {
  const all = {
    ...values,
    ...Object.fromEntries(Object.entries(changes).filter(([, to]) => to !== undefined)),
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null)) as Values
}

function withDefaults(set: StoredConfig): ProviderConfig {
  const { enabled, priority, routingWeight, timeoutMs, maxConcurrency, circuitBreaker } = PROVIDER_DEFAULTS
  return {
    enabled: set.enabled ?? enabled,
    priority: set.priority ?? priority,
    routingWeight: set.routingWeight ?? routingWeight,
    timeoutMs: set.timeoutMs ?? timeoutMs,
    maxConcurrency: set.maxConcurrency ?? maxConcurrency,
    circuitBreaker: {
      errorRate: set.circuitBreaker?.errorRate ?? circuitBreaker.errorRate,
      cooldownMs: set.circuitBreaker?.cooldownMs ?? circuitBreaker.cooldownMs,
    },
  }
}
