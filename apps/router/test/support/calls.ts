import assert from 'node:assert/strict'
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { formatUsd, parseUsd } from '@mesh/catalog/money.ts'
import type { AccountId } from '../../src/ids.ts'
import type { Database } from '../../src/storage/database.ts'
import type { Answered, TestAccount, TestRouter } from './test-router.ts'
import { until } from './until.ts'

/** A cheap model that cannot think, so that its output is exactly as many tokens as the simulator is told. */
const MODEL = 'mesh/gpt-4o-mini'

type Body = Readonly<Record<string, unknown>>

/** A chat call whose simulator answers as `simulate` says. */
export function chat(simulate?: string, more: Body = {}): Body {
  return {
    model: MODEL,
    messages: [{ role: 'user', content: 'Count to ten.' }],
    ...(simulate === undefined ? {} : { metadata: { mesh_simulate: simulate } }),
    ...more,
  }
}

/** Sends a chat call and reads its answer to the end. */
export function send(
  mesh: Pick<TestRouter, 'request'>,
  key: string,
  body: Body,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answered> {
  return mesh.request('POST', '/v1/chat/completions', { key, body, headers })
}

/** The chunks of a stream, without comments and `[DONE]`. */
// biome-ignore lint/suspicious/noExplicitAny: what a test expects of a chunk is what it asserts
export function chunksOf(text: string): any[] {
  return text
    .split('\n\n')
    .filter((part) => part.startsWith('data: ') && part !== 'data: [DONE]')
    .map((part) => JSON.parse(part.slice('data: '.length)))
}

/** What a `usage.cost` of an answer, streamed or not, says that was charged; 0 for an error. */
export function chargedNano({ json, text }: Answered): bigint {
  const body = json ?? chunksOf(text).findLast(({ usage }) => usage)
  return nano(body?.usage?.cost_details.total ?? '0')
}

/** USD as the API writes it, in nano-USD. */
export function nano(usd: string): bigint {
  const amount = parseUsd(usd)
  assert.notEqual(amount, undefined, `${usd} is no amount`)
  return amount ?? 0n
}

/** The id under which a call's event, ledger row and receipt are found. */
export function requestIdOf({ headers }: Pick<Answered, 'headers'>): string {
  return headers.get('x-request-id') ?? ''
}

/** The event of a call. It is waited for: that of a refusal is written after its answer. */
// biome-ignore lint/suspicious/noExplicitAny: what a test expects of an event is what it asserts
export async function eventOf(mesh: TestRouter, key: string, requestId: string): Promise<any> {
  let found: Answered | undefined
  await until(`the event of ${requestId} is there`, async () => {
    found = await mesh.request('GET', `/v1/logs/${requestId}`, { key })
    return found.status === 200
  })
  return found?.json
}

export interface Book {
  readonly balanceNano: bigint
  readonly heldNano: bigint
}

/** What an account has in one world, as the books have it. */
export async function bookOf(database: Database, accountId: string, livemode = false): Promise<Book> {
  const row = await database.query
    .selectFrom('balances')
    .select(['balance_nano', 'held_nano'])
    .where('account_id', '=', accountId as AccountId)
    .where('livemode', '=', livemode)
    .executeTakeFirstOrThrow()
  return { balanceNano: row.balance_nano, heldNano: row.held_nano }
}

/** The holds that an account has at the moment. */
export async function holdsOf(database: Database, accountId: string): Promise<number> {
  const rows = await database.query
    .selectFrom('holds')
    .select('call_id')
    .where('account_id', '=', accountId as AccountId)
    .execute()
  return rows.length
}

/**
 * Asserts that everything that tells of a call's cost tells the same: event, ledger row (none where nothing was
 * charged) and receipt. Returns the event.
 */
// biome-ignore lint/suspicious/noExplicitAny: what a test expects of an event is what it asserts
export async function assertRecordsAgree(mesh: TestRouter, account: TestAccount, id: string): Promise<any> {
  const event = await eventOf(mesh, account.key, id)
  const { upstreamCostUsd, marginUsd, totalUsd, heldUsd } = event.cost
  const total = nano(totalUsd)
  assert.equal(nano(upstreamCostUsd) + nano(marginUsd), total, 'upstream and margin are the total')
  assert.ok(total <= nano(heldUsd), `${id} was charged ${totalUsd} on a hold of ${heldUsd}`)

  const ledger = await mesh.request('GET', '/v1/ledger?limit=100', { key: account.key })
  const rows = ledger.json.data.filter(({ requestId }: { requestId: string | null }) => requestId === id)
  assert.deepEqual(
    rows.map(({ type, amountUsd }: { type: string; amountUsd: string }) => [type, amountUsd]),
    total === 0n ? [] : [['usage', formatUsd(-total)]],
  )

  if (event.receiptId === null) {
    assert.equal(total, 0n, 'what is charged has a receipt')
    return event
  }
  const { json } = await mesh.request('GET', `/v1/receipts/${event.receiptId}`, { key: account.key })
  assert.equal(json.receipt.requestId, id)
  assert.equal(json.receipt.totalUsd, totalUsd)
  assert.equal(json.receipt.upstreamCostUsd, upstreamCostUsd)
  assert.equal(json.receipt.billingReason, event.billingReason)
  assert.equal(json.receipt.ledgerEntryId, rows[0]?.id ?? null)
  return event
}

/** A call whose answer is read while it comes. */
export interface OpenCall {
  /** Resolves with the answer's head. */
  readonly head: Promise<IncomingMessage>
  /** Whether no more of the answer will come. */
  isEnded(): boolean
  /** What came until now. */
  text(): string
  /** Takes nothing of the answer for now, and goes on. */
  pause(): void
  resume(): void
  /** Drops the connection. */
  destroy(): void
  /** Drops the connection with a TCP reset. */
  reset(): void
  /** Says that nothing more will be sent, and reads on. */
  halfClose(): void
}

/** Whether a chat stream has brought a part of its text, wherever that was cut. */
export function hasBegun(call: Pick<OpenCall, 'text'>): boolean {
  return /"content":"[^"]/.test(call.text())
}

/** Sends a chat call over a connection of its own. */
export function open(mesh: Pick<TestRouter, 'url'>, key: string, body: Body): OpenCall {
  let text = ''
  const { promise: head, resolve: onHead } = Promise.withResolvers<IncomingMessage>()
  let isEnded = false
  const onEnd = (): void => {
    isEnded = true
  }
  const request: ClientRequest = httpRequest(`${mesh.url}/v1/chat/completions`, {
    method: 'POST',
    agent: false,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
  })
  request.on('error', onEnd)
  request.on('response', (response) => {
    onHead(response)
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => {
      text += chunk
    })
    response.on('error', onEnd)
    response.on('close', onEnd)
  })
  request.end(JSON.stringify(body))
  return {
    head,
    isEnded: () => isEnded,
    text: () => text,
    pause: () => void request.socket?.pause(),
    resume: () => void request.socket?.resume(),
    destroy: () => void request.destroy(),
    reset: () => void request.socket?.resetAndDestroy(),
    halfClose: () => void request.socket?.end(),
  }
}
