import { createHash } from 'node:crypto'
import type { Catalog, EndpointId, ModelId } from '@mesh/catalog/catalog.ts'
import { formatUsd, roundUpToNano } from '@mesh/catalog/money.ts'
import { parsePriceList } from '@mesh/catalog/price-list.ts'
import { inputTokensMax } from '@mesh/engine/input-bound.ts'
import { type Plan, type PlanInput, plan } from '@mesh/engine/plan.ts'
import { expectedPrice } from '@mesh/engine/plan-order.ts'
import { createPlanSnapshot } from '@mesh/engine/plan-snapshot.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import type { Selectable } from 'kysely'
import { z } from 'zod'
import { candidatesDigest, type KeptPlan, readPlanRecord } from '../call/plan-record.ts'
import { catalogOf } from '../catalog.ts'
import { ADDED_ROW, isRecordId } from '../ids.ts'
import type { Database } from '../storage/database.ts'
import { StartupError } from '../storage/startup-error.ts'
import type { EventsTable } from '../storage/tables.ts'
import { type Command, type OpsContext, UsageError } from './command.ts'
import { withDatabase } from './open-database.ts'

export const routeReplay: Command = {
  words: ['route', 'replay'],
  options: {},
  operands: [1, 1],
  help: `route replay EVENT_ID
    Makes the plan of a call again from what the books keep, shows it, and says whether it is what happened; exit code 1
    where it is not.`,
  async run(context, [id = '']) {
    if (!isRecordId('req', id)) throw new UsageError('The id of an event begins with req_.')
    return await withDatabase(context, { whenBusy: 'attach', create: false }, async (database) => {
      const event = await database.query
        .selectFrom('events')
        .selectAll()
        .where('id', '=', id)
        .executeTakeFirst()
      if (!event) throw new StartupError('There is no event of this id.')
      return await replay(context, event, database)
    })
  },
}

const routingOf = z.object({
  requested: z.array(z.templateLiteral(['mesh/', z.string()])),
  snapshot: z.string(),
  plan: z.unknown(),
})

const contentOf = z.object({
  mesh: z.string(),
  catalog: z.string(),
  prices: z.string(),
  protocols: z.array(z.string()),
  credentials: z.array(z.string()),
  enabled: z.array(z.string()),
  preferences: z.array(
    z.tuple([z.string(), z.object({ priority: z.number(), weight: z.number().exactOptional() })]),
  ),
  health: z.array(
    z.tuple([
      z.custom<EndpointId>((value) => typeof value === 'string' && value.includes('@')),
      z.object({
        successRate: z.number(),
        firstTokenMsP50: z.number().exactOptional(),
        tokensPerSecondP50: z.number().exactOptional(),
        samples: z.number(),
        breaker: z.enum(['closed', 'open', 'half_open']),
      }),
    ]),
  ),
})

async function replay(
  { say, mesh, settings }: OpsContext,
  event: Selectable<EventsTable>,
  database: Database,
): Promise<number> {
  const routing = routingOf.safeParse(event.routing)
  const targets: readonly ModelId[] = routing.data?.requested ?? []
  const kept = readPlanRecord(routing.data?.plan, { targets, livemode: event.livemode })
  if (!routing.success || !kept) {
    throw new StartupError(
      'This event keeps no plan: it was refused before one was made, or is an older one.',
    )
  }
  const { snapshot, madeBy } = await readSnapshot(
    routing.data.snapshot,
    catalogOf(settings().policy),
    database,
  )
  const spreadKey = event.id.replace(ADDED_ROW, '')
  const input: PlanInput = { ...kept.request, snapshot, spreadKey, inputTokensMax }
  const planned = plan(input)
  for (const line of tableOf(planned, input)) say(line)
  const difference = differenceFrom(event, planned, kept)
  if (!difference) {
    say('This is what happened.')
    return 0
  }
  say(`This is not what happened: ${difference}.`)
  if (madeBy !== mesh) say(`It was planned by MESH ${madeBy}, and this is ${mesh}.`)
  return 1
}

async function readSnapshot(id: string, catalog: Catalog, database: Database) {
  const row = await database.query
    .selectFrom('plan_snapshots')
    .select('content')
    .where('id', '=', id)
    .executeTakeFirst()
  if (!row) throw new StartupError(`What the plan was made from, ${id}, is not kept any more.`)
  const content = contentOf.parse(row.content)
  if (content.catalog !== catalog.version) {
    throw new StartupError(
      `The plan was made from the catalogue ${content.catalog} by MESH ${content.mesh}, and this is ${catalog.version}: replay it with that version, and the models that MESH_SETTINGS added then.`,
    )
  }
  const list = await database.query
    .selectFrom('price_lists')
    .select('prices')
    .where('id', '=', content.prices)
    .executeTakeFirst()
  if (!list) throw new StartupError(`The price list ${content.prices} is not in this database.`)
  const prices = parsePriceList(JSON.stringify(list.prices), (text) =>
    createHash('sha256').update(text).digest('hex').slice(0, 32),
  )
  const protocols = new Set(content.protocols)
  const snapshot = createPlanSnapshot({
    id,
    catalog,
    sellPrices: prices.sell,
    protocolBuilt: (name) => protocols.has(name),
    takesParameter: (endpoint, name) => protocolFor(endpoint.protocol)?.takes(endpoint, name) ?? false,
    credentials: new Set(content.credentials),
    enabledProviders: new Set(content.enabled),
    preferences: new Map(content.preferences),
    health: new Map(content.health),
  })
  return { snapshot, madeBy: content.mesh }
}

/** The plan as an operator reads it: who would be tried, at which price, and why not the others. */
function tableOf(planned: Plan, { shape, snapshot }: PlanInput): string[] {
  const width = Math.max(
    0,
    ...planned.candidates.map(({ endpoint }) => endpoint.id.length),
    ...planned.excluded.map(({ endpoint }) => endpoint.length),
  )
  return [
    `asked     ${planned.targets.join(', ')}`,
    `mode      ${planned.mode}, by the rule ${planned.rule}`,
    `snapshot  ${snapshot.id}`,
    '',
    ...planned.candidates.map(({ endpoint, sellPrices }, at) => {
      const expected = formatUsd(roundUpToNano(expectedPrice(sellPrices, shape, endpoint.contextTokens)))
      return `${String(at + 1).padStart(3)}  ${endpoint.id.padEnd(width)}  about $${expected}`
    }),
    ...planned.excluded.map(({ endpoint, by }) => `  –  ${endpoint.padEnd(width)}  ${by}`),
    '',
  ]
}

/** Refusals that say that a plan had no endpoint. */
const NOTHING_LEFT: ReadonlySet<string | null> = new Set([
  'model_not_allowed',
  'context_length_exceeded',
  'privacy_unavailable',
  'no_endpoint',
])

/** How a plan differs from what its event tells, or `undefined` where it does not. */
function differenceFrom(
  { attempts, error_code: errorCode }: Selectable<EventsTable>,
  planned: Plan,
  kept: KeptPlan,
): string | undefined {
  const ids = planned.candidates.map(({ endpoint }) => endpoint.id as string)
  if (kept.digest === undefined) {
    const refused = NOTHING_LEFT.has(errorCode)
    if (refused === (ids.length === 0)) return undefined
    return refused ? 'then no endpoint was left' : `then the call was refused with ${errorCode}`
  }
  const tried = attempts.map(({ model, provider }) => `${model}@${provider}`)
  const inOrder = tried.filter((id, at) => at === 0 || ids.indexOf(id) > ids.indexOf(tried[at - 1] ?? ''))
  const stranger = tried.find((id) => !ids.includes(id))
  if (stranger !== undefined) return `${stranger} was tried and is not in it`
  if (inOrder.length !== tried.length) return `they were tried in another order: ${tried.join(', ')}`
  return candidatesDigest(planned) === kept.digest
    ? undefined
    : 'who might be tried, or in which order, was another'
}
