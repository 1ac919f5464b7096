import { createHash } from 'node:crypto'
import { formatUsd } from '@mesh/catalog/money.ts'
import { costNano, type PriceSchedule } from '@mesh/catalog/price.ts'
import { type PriceList, parsePriceList } from '@mesh/catalog/price-list.ts'
import type { TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import { z } from 'zod'
import type { BillingReason } from '../records/billing-reason.ts'
import type { Difference, Snapshot } from './verify.ts'

const PAGE_ROWS = 1_000

/** Whether a call that ended so is paid for. */
const IS_BILLED: Readonly<Record<BillingReason, boolean>> = {
  completed: true,
  truncated_by_length: true,
  credit_cutoff: true,
  client_disconnected: true,
  estimated_usage: true,
  zero_completion_not_billed: false,
  upstream_error_not_billed: false,
  router_crash: false,
  rejected_not_billed: false,
}

const count = z.int().nonnegative()
const buckets = z.strictObject({
  input: count,
  cacheRead: count,
  cacheWrite5m: count,
  cacheWrite1h: count,
  inputAudio: count,
  inputImage: count,
  output: count,
  reasoning: count,
  outputAudio: count,
  outputImage: count,
}) satisfies z.ZodType<TokenBuckets>

const receiptClaims = z.object({ requestId: z.string(), totalUsd: z.string() })

interface ChargedEvent {
  readonly id: string
  readonly billing_reason: BillingReason
  readonly model_served: string | null
  readonly provider: string | null
  readonly buckets: unknown
  readonly held_nano: bigint
  readonly upstream_nano: bigint
  readonly total_nano: bigint
  readonly price_list_id: string | null
  readonly dispatched_at: Date | null
  readonly payload: Buffer | null
}

/** Computes every event's charge again from its price list, and reads it in its receipt. */
export async function* verifyCharges(snapshot: Snapshot): AsyncGenerator<Difference> {
  const lists = new PriceLists(snapshot)
  for await (const event of chargedEvents(snapshot)) {
    for (const sentence of [...(await chargeFaults(event, lists)), ...receiptFaults(event)]) {
      yield { check: 'charge', subject: event.id, sentence }
    }
  }
}

async function* chargedEvents(snapshot: Snapshot): AsyncGenerator<ChargedEvent> {
  let last = ''
  while (true) {
    const { rows } = await snapshot.query<ChargedEvent>(
      `select e.id, e.billing_reason, e.model_served, e.provider, e.buckets, e.held_nano, e.upstream_nano, e.total_nano,
         e.price_list_id, e.dispatched_at, r.payload
       from events e left join receipts r on r.id = e.receipt_id
       where e.id > $1 order by e.id limit ${PAGE_ROWS}`,
      [last],
    )
    yield* rows
    const end = rows.at(-1)
    if (end === undefined || rows.length < PAGE_ROWS) return
    last = end.id
  }
}

async function chargeFaults(event: ChargedEvent, lists: PriceLists): Promise<readonly string[]> {
  const { id, total_nano: total, held_nano: held } = event
  if (total < 0n || total > held) {
    return [`Event ${id} charges ${usd(total)}, and ${usd(held)} was held.`]
  }
  if (!IS_BILLED[event.billing_reason]) {
    return total === 0n
      ? []
      : [`Event ${id} charges ${usd(total)} though it ended as ${event.billing_reason}.`]
  }
  // Nobody served it: a caller who left before a provider took the request.
  if (event.model_served === null) {
    return total === 0n && event.upstream_nano === 0n
      ? []
      : [`Event ${id} charges for a call that nobody served.`]
  }
  if (event.price_list_id === null || event.dispatched_at === null) {
    return [`Event ${id} names no price list or no moment of dispatch, so its charge cannot be computed.`]
  }
  const list = await lists.get(event.price_list_id)
  if (typeof list === 'string') return [`Event ${id}: ${list}`]
  const prices = pricesOf(list, event)
  const used = buckets.safeParse(event.buckets)
  if (prices === undefined)
    return [`Event ${id} was served at an endpoint that its price list does not have.`]
  if (!used.success) return [`Event ${id} has token buckets that cannot be read.`]
  const price = costNano(used.data, prices.sell, event.dispatched_at)
  const cost = costNano(used.data, prices.cost, event.dispatched_at)
  const expected = price < held ? price : held
  const faults: string[] = []
  if (total !== expected) {
    faults.push(
      `Event ${id} charges ${usd(total)}, and its tokens at its price list come to ${usd(expected)}.`,
    )
  }
  if (event.upstream_nano !== cost) {
    faults.push(
      `Event ${id} has an upstream cost of ${usd(event.upstream_nano)}, and its tokens cost ${usd(cost)} at list price.`,
    )
  }
  return faults
}

function receiptFaults({ id, payload, total_nano }: ChargedEvent): readonly string[] {
  if (payload === null) return []
  const claims = receiptClaims.safeParse(parseJson(payload))
  if (!claims.success) return [`The receipt of event ${id} cannot be read.`]
  const faults: string[] = []
  if (claims.data.totalUsd !== formatUsd(total_nano)) {
    faults.push(`The receipt of event ${id} is not over ${usd(total_nano)}, as the event is.`)
  }
  if (!id.startsWith(claims.data.requestId)) faults.push(`The receipt of event ${id} is another call's.`)
  return faults
}

function parseJson(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8'))
  } catch {
    return undefined
  }
}

function pricesOf(
  list: PriceList,
  { model_served, provider }: ChargedEvent,
): { readonly sell: PriceSchedule; readonly cost: PriceSchedule } | undefined {
  const endpoint = `${model_served}@${provider}`
  for (const [id, sell] of list.sell) {
    const cost = list.cost.get(id)
    if (id === endpoint && cost !== undefined) return { sell, cost }
  }
  return undefined
}

/** Price lists by id, each read once. What is wrong with one is a sentence in its place. */
class PriceLists {
  readonly #snapshot: Snapshot
  readonly #lists = new Map<string, Promise<PriceList | string>>()

  constructor(snapshot: Snapshot) {
    this.#snapshot = snapshot
  }

  get(id: string): Promise<PriceList | string> {
    const known = this.#lists.get(id) ?? this.#read(id)
    this.#lists.set(id, known)
    return known
  }

  async #read(id: string): Promise<PriceList | string> {
    const { rows } = await this.#snapshot.query<{ prices: string }>(
      'select prices::text as prices from price_lists where id = $1',
      [id],
    )
    const [row] = rows
    if (row === undefined) return `its price list ${id} is not there.`
    // An id holds as much of the digest as was put into it.
    const digestLength = id.length - 'prices_'.length
    const list = parsePriceList(row.prices, (text) =>
      createHash('sha256').update(text).digest('hex').slice(0, digestLength),
    )
    return list.id === id ? list : `its price list ${id} is not what it was.`
  }
}

function usd(amount: bigint): string {
  return `$${formatUsd(amount)}`
}
