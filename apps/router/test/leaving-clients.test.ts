import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import type { RequestRecord } from '@mesh/simulator/stats.ts'
import {
  assertRecordsAgree,
  bookOf,
  chat,
  chunksOf,
  holdsOf,
  nano,
  type OpenCall,
  open,
  send,
} from './support/calls.ts'
import { startStreamingUpstream } from './support/streaming-upstream.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

let mesh: TestRouter
before(async () => {
  mesh = await startTestRouter()
})
after(() => mesh.stop())

const TOKENS = 40
const CREDIT = '1.00'
/** Long enough for an estimate to be told from a constant. */
const PROMPT = 'Tell me about the ways in which people leave. '.repeat(50)

/** How a client goes. Who closes his side only could read on; as with most servers, he has left all the same. */
const WAYS: Readonly<Record<string, (call: OpenCall) => void>> = {
  'hangs up': (call) => call.destroy(),
  'resets the connection': (call) => call.reset(),
  'closes his side': (call) => call.halfClose(),
}

interface Kind {
  readonly provider: string
  readonly model: string
  readonly stream: boolean
  /** Set where all that may come is held, so that an answer in one piece is asked for. */
  readonly max_tokens?: number
  /** Set where a model may think. */
  readonly reasoning_effort?: 'none' | 'high'
  readonly what: 'stopped' | 'read to its end'
  /** Whether the provider tells its input before it answers. */
  readonly tellsInput?: boolean
}

const OPENAI = { provider: 'openai', model: 'mesh/gpt-4o-mini' }
const ANTHROPIC = { provider: 'anthropic', model: 'mesh/claude-sonnet-4.5', tellsInput: true }
/** It bills on after a cancel, and tells its usage at the very end only. */
const GROQ = { provider: 'groq', model: 'mesh/llama-3.3-70b' }
const RESPONSES = { provider: 'openai', model: 'mesh/gpt-5.4-nano' }
const AZURE = { provider: 'azure', model: 'mesh/gpt-4o-mini' }
const COHERE = { provider: 'cohere', model: 'mesh/command-a' }
/** As Groq, each in a stream of its own kind. */
const GEMINI = { provider: 'google', model: 'mesh/gemini-2.5-flash' }
const BEDROCK = { provider: 'amazon-bedrock', model: 'mesh/nova-2-lite' }

const GROQ_STREAM: Kind = { ...GROQ, stream: true, what: 'read to its end' }
const STREAMS: readonly Kind[] = [
  { ...OPENAI, stream: true, what: 'stopped' },
  { ...ANTHROPIC, stream: true, what: 'stopped' },
  { ...RESPONSES, stream: true, reasoning_effort: 'none', what: 'stopped' },
  { ...AZURE, stream: true, what: 'stopped' },
  { ...COHERE, stream: true, what: 'stopped' },
  GROQ_STREAM,
  { ...GEMINI, stream: true, reasoning_effort: 'none', what: 'read to its end' },
  { ...BEDROCK, stream: true, what: 'read to its end' },
]
/** Answers that nobody streams, though their provider is asked to: only a stream can be stopped when credit ends. */
const GATHERED: readonly Kind[] = [
  { ...OPENAI, stream: false, what: 'stopped' },
  { ...ANTHROPIC, stream: false, what: 'stopped' },
]
const IN_ONE_PIECE: readonly Kind[] = [
  { ...OPENAI, stream: false, max_tokens: 100, what: 'read to its end' },
  { ...ANTHROPIC, stream: false, max_tokens: 100, what: 'read to its end' },
  { ...AZURE, stream: false, max_tokens: 100, what: 'read to its end' },
  { ...COHERE, stream: false, max_tokens: 100, what: 'read to its end' },
  { ...GROQ, stream: false, what: 'read to its end' },
  { ...RESPONSES, stream: false, max_tokens: 100, reasoning_effort: 'none', what: 'read to its end' },
  { ...GEMINI, stream: false, reasoning_effort: 'none', what: 'read to its end' },
  { ...BEDROCK, stream: false, what: 'read to its end' },
]

interface Left {
  readonly kind: Kind
  readonly account: TestAccount
  readonly call: OpenCall
}

function bodyOf(
  { provider, model, stream, max_tokens, reasoning_effort }: Kind,
  simulate: string,
): Record<string, unknown> {
  return {
    ...chat(simulate, { model, stream }),
    messages: [{ role: 'user', content: PROMPT }],
    provider: { only: [provider] },
    ...(max_tokens === undefined ? {} : { max_tokens }),
    ...(reasoning_effort === undefined ? {} : { reasoning_effort }),
  }
}

/** How many tokens of content a client has got. */
function tokensSeen(call: OpenCall): number {
  const text = chunksOf(call.text().slice(0, call.text().lastIndexOf('\n\n') + 2))
    .map(({ choices }) => choices[0]?.delta?.content ?? '')
    .join('')
  return Math.ceil(text.length / 4)
}

/**
 * Sends each kind of call for each way to leave, and lets all of them leave when their provider has said what
 * `simulate` says. Resolves when those that are to be stopped are, and the others have been let go on to their end.
 */
async function leaveAll(kinds: readonly Kind[], simulate: string, seenTokens: number): Promise<Left[]> {
  const { cancelled } = mesh.simulator.stats()
  const lefts = await Promise.all(
    kinds.flatMap((kind) =>
      Object.values(WAYS).map(async (leave) => {
        const account = await mesh.account({ creditUsd: CREDIT })
        return { kind, account, leave, call: open(mesh, account.key, bodyOf(kind, simulate)) }
      }),
    ),
  )
  await mesh.simulator.until(({ held }) => held === lefts.length)
  await until('every stream has come so far', () =>
    lefts.every(({ kind, call }) => !kind.stream || tokensSeen(call) >= seenTokens),
  )
  for (const { call, leave } of lefts) leave(call)
  if (seenTokens > 0) {
    const stopped = lefts.filter(({ kind }) => kind.what === 'stopped').length
    await mesh.simulator.until((stats) => stats.cancelled === cancelled + stopped)
  }
  // Whoever leaves before his answer begins is known to have left when his connection is gone.
  await until('every connection has ended', () => lefts.every(({ call }) => call.isEnded()))
  mesh.simulator.release()
  return lefts
}

/** The id of the one call that an account made, once it has its event. */
async function onlyCallOf({ key }: TestAccount, router = mesh): Promise<string> {
  let ids: readonly string[] = []
  await until('the call has its event', async () => {
    const { json } = await router.request('GET', '/v1/logs', { key })
    ids = json.data.map(({ id }: { id: string }) => id)
    return ids.length > 0
  })
  assert.equal(ids.length, 1)
  return ids[0] ?? ''
}

/** Asserts what every call of a client that left leaves behind, and returns its event. */
// biome-ignore lint/suspicious/noExplicitAny: what a test expects of an event is what it asserts
async function eventOfLeft({ account, kind }: Left): Promise<any> {
  const event = await assertRecordsAgree(mesh, account, await onlyCallOf(account))
  assert.deepEqual(
    [event.billingReason, event.status, event.errorCode],
    ['client_disconnected', 499, 'client_disconnected'],
    JSON.stringify(kind),
  )
  const isUsed = Object.values(event.tokens).some((count) => count !== 0)
  assert.equal(nano(event.cost.totalUsd) > 0n, isUsed, 'what was made is charged, and nothing else')
  assert.equal(await holdsOf(mesh.database, account.id), 0)
  assert.deepEqual(await bookOf(mesh.database, account.id), {
    balanceNano: nano(CREDIT) - nano(event.cost.totalUsd),
    heldNano: 0n,
  })
  return event
}

type Records = readonly RequestRecord[]

function endpointOf({ model, provider }: Kind) {
  const found = loadCatalog().models.find(({ id }) => id === model)
  return found?.endpoints.find((candidate) => candidate.provider === provider)
}

function recordsOf(kind: Kind, since: number): Records {
  const { provider, stream, what } = kind
  const isUpstreamStreamed = stream || what === 'stopped'
  const upstreamModel = endpointOf(kind)?.upstreamModel
  return mesh.simulator
    .stats()
    .records.slice(since)
    .filter(
      (record) =>
        record.model === upstreamModel &&
        record.provider === provider &&
        record.stream === isUpstreamStreamed,
    )
}

const byNumber = (left: number, right: number): number => left - right

/** Of the calls of one kind, in order: what they were billed for, and what their provider made. */
function outputs(events: readonly { tokens: { output: number } }[], records: Records) {
  return {
    billed: events.map(({ tokens }) => tokens.output).sort(byNumber),
    made: records.map(({ outputTokens }) => outputTokens).sort(byNumber),
  }
}

/** Asserts that the input that is billed is what went in: as the provider told it, or as near as an estimate gets. */
function assertInput(event: { tokens: { input: number } }, [record]: Records, isTold: boolean): void {
  const wanted = record?.inputTokens ?? 0
  assert.ok(wanted > 500)
  const { input } = event.tokens
  const isNear = Math.abs(input - wanted) <= (isTold ? 0 : wanted * 0.15)
  assert.ok(isNear, `${input} tokens of input were billed for ${wanted}`)
}

const CHUNKS = [
  { chunk: 'first', hold: 1 },
  { chunk: 'middle', hold: TOKENS / 2 },
  { chunk: 'last', hold: TOKENS },
] as const

for (const { chunk, hold } of CHUNKS) {
  test(`peer bug 6 (litellm#14457): a client that leaves at the ${chunk} chunk of a stream is charged for what was made`, async () => {
    const since = mesh.simulator.stats().records.length
    const lefts = await leaveAll(STREAMS, `tokens=${TOKENS},hold=${hold}`, hold)
    for (const kind of STREAMS) {
      const events = await Promise.all(lefts.filter((left) => left.kind === kind).map(eventOfLeft))
      const records = recordsOf(kind, since)
      const { billed, made } = outputs(events, records)
      assert.deepEqual(billed, made)
      assert.equal(billed.length, Object.keys(WAYS).length)
      const isWhole = kind.what === 'read to its end'
      for (const event of events) assertInput(event, records, isWhole || kind.tellsInput === true)
      assert.ok(made.every((tokens) => (isWhole ? tokens === TOKENS : tokens >= hold && tokens < hold + 4)))
      assert.ok(records.every(({ state }) => state === (isWhole ? 'completed' : 'cancelled')))
      assert.ok(events.every(({ usageSource }) => usageSource === (isWhole ? 'reported' : 'estimated')))
    }
  })

  test(`a client that leaves an answer that is gathered for him at its ${chunk} chunk is charged for what was made`, async () => {
    const since = mesh.simulator.stats().records.length
    const lefts = await leaveAll(GATHERED, `tokens=${TOKENS},hold=${hold}`, hold)
    for (const kind of GATHERED) {
      const events = await Promise.all(lefts.filter((left) => left.kind === kind).map(eventOfLeft))
      const records = recordsOf(kind, since)
      const { billed, made } = outputs(events, records)
      // What was on its way when he left is not known any more.
      assert.ok(billed.every((tokens, at) => tokens <= (made[at] ?? 0)))
      assert.ok(made.every((tokens) => tokens >= hold && tokens < hold + 4))
      assert.ok(records.every(({ state }) => state === 'cancelled'))
    }
  })
}

test('peer bug 9 (litellm#13245): a client that leaves an answer in one piece is charged for all of it', async () => {
  const since = mesh.simulator.stats().records.length
  const lefts = await leaveAll(IN_ONE_PIECE, `tokens=${TOKENS},hold`, 0)
  for (const kind of IN_ONE_PIECE) {
    const events = await Promise.all(lefts.filter((left) => left.kind === kind).map(eventOfLeft))
    const records = recordsOf(kind, since)
    assert.ok(records.every(({ state }) => state === 'completed'))
    assert.deepEqual(
      events.map(({ tokens, usageSource }) => [tokens.output, usageSource]),
      events.map(() => [TOKENS, 'reported']),
    )
    for (const event of events) assertInput(event, records, true)
  }
})

test('a client that leaves an answer that was thought out unseen is charged for the thought as well', async () => {
  const since = mesh.simulator.stats().records.length
  const thinkers: readonly Kind[] = [
    { ...RESPONSES, stream: true, reasoning_effort: 'high', what: 'read to its end' },
    { ...GEMINI, stream: true, reasoning_effort: 'high', what: 'read to its end' },
  ]
  const lefts = await leaveAll(thinkers, `tokens=${TOKENS},hold=${(TOKENS * 3) / 4}`, 1)
  for (const kind of thinkers) {
    const events = await Promise.all(lefts.filter((left) => left.kind === kind).map(eventOfLeft))
    assert.ok(recordsOf(kind, since).every(({ state }) => state === 'completed'))
    for (const { tokens, usageSource } of events) {
      assert.deepEqual(
        [tokens.output, tokens.reasoning, usageSource],
        [TOKENS / 2, TOKENS / 2, 'reported'],
        kind.provider,
      )
    }
  }
})

test('a client that leaves before his stream begins pays for no more than the provider has done', async () => {
  const since = mesh.simulator.stats().records.length
  const kinds = [...STREAMS, ...GATHERED]
  const lefts = await leaveAll(kinds, `tokens=${TOKENS},hold`, 0)
  const events = await Promise.all(lefts.map(async (left) => ({ ...left, event: await eventOfLeft(left) })))
  for (const { provider, what } of STREAMS) {
    const mine = events.filter(({ kind }) => kind.provider === provider)
    const records = mesh.simulator
      .stats()
      .records.slice(since)
      .filter((record) => record.provider === provider)
    const isWhole = what === 'read to its end'
    assert.ok(records.every(({ state }) => state === (isWhole ? 'completed' : 'cancelled')))
    const { billed, made } = outputs(
      mine.map(({ event }) => event),
      records,
    )
    assert.equal(billed.length, made.length)
    assert.ok(billed.every((tokens, at) => (isWhole ? tokens === TOKENS : tokens <= (made[at] ?? 0))))
    for (const { event } of mine) assertInput(event, records, isWhole)
  }
})

test('a client that leaves before a provider that then refuses has begun pays nothing', async () => {
  for (const refusal of ['server_error', 'overloaded', 'rate_limit']) {
    const lefts = await leaveAll([...STREAMS, ...GATHERED, ...IN_ONE_PIECE], `hold,${refusal}`, 0)
    for (const event of await Promise.all(lefts.map(eventOfLeft))) {
      assert.equal(nano(event.cost.totalUsd), 0n)
      assert.ok(Object.values(event.tokens).every((count) => count === 0))
    }
  }
})

test('peer bug 7 (new-api#5235): leaving is no refund', async () => {
  const account = await mesh.account({ creditUsd: CREDIT })
  const whole = await send(mesh, account.key, { ...bodyOf(GROQ_STREAM, `tokens=${TOKENS}`), stream: true })
  const { total } = chunksOf(whole.text).findLast(({ usage }) => usage).usage.cost_details
  const lefts = await leaveAll([GROQ_STREAM], `tokens=${TOKENS},hold=1`, 1)
  for (const left of lefts) assert.equal((await eventOfLeft(left)).cost.totalUsd, total)
})

test('peer bug 7 (new-api#5289): the text of an error is billed to nobody, whether he left or not', async () => {
  const fault = `tokens=100,hold=20,error_mid=20`
  const since = mesh.simulator.stats().records.length
  const lefts = await leaveAll([GROQ_STREAM], fault, 20)
  const events = await Promise.all(lefts.map(eventOfLeft))
  const { billed, made } = outputs(events, recordsOf(GROQ_STREAM, since))
  assert.deepEqual(billed, made)
  assert.ok(made.every((tokens) => tokens >= 20 && tokens < 24))

  for (const kind of STREAMS) {
    const account = await mesh.account({ creditUsd: CREDIT })
    const stays = send(mesh, account.key, bodyOf(kind, fault))
    await mesh.simulator.until(({ held }) => held === 1)
    mesh.simulator.release()
    const answer = await stays
    const event = await assertRecordsAgree(mesh, account, answer.headers.get('x-request-id') ?? '')
    assert.deepEqual([event.billingReason, nano(event.cost.totalUsd)], ['upstream_error_not_billed', 0n])
  }
})

test('peer bug 8 (litellm PR#36008): usage that comes at the very end alone is waited for, and no placeholder is billed', async () => {
  const [endTold] = await leaveAll([GROQ_STREAM], `tokens=500,hold=1`, 1)
  assert.ok(endTold)
  const drained = await eventOfLeft(endTold)
  assert.deepEqual([drained.tokens.output, drained.usageSource], [500, 'reported'])
  // Anthropic begins with a placeholder of one token.
  const since = mesh.simulator.stats().records.length
  const anthropic: Kind = { ...ANTHROPIC, stream: true, what: 'stopped' }
  const lefts = await leaveAll([anthropic], `tokens=500,hold=200`, 200)
  const { billed, made } = outputs(await Promise.all(lefts.map(eventOfLeft)), recordsOf(anthropic, since))
  assert.deepEqual(billed, made)
})

test('where a provider that bills on never ends, what it said, or was seen to say, is billed', async (t) => {
  for (const usageAsItGoes of [true, false]) {
    const upstream = await startStreamingUpstream({
      contentBytes: 4_000,
      deltaBytes: 40,
      deltasMax: 20,
      inputTokens: 600,
      usageAsItGoes,
    })
    t.after(() => upstream.close())
    const stuck = await startTestRouter({
      environment: { GROQ_API_KEY: 'a-credential', MESH_GROQ_BASE_URL: upstream.baseUrl },
      policy: { calls: { drainMs: 100 } },
    })
    t.after(() => stuck.stop())
    const calls = Object.values(WAYS).map(async (leave) => {
      const account = await stuck.account({ creditUsd: CREDIT, livemode: true })
      const call = open(stuck, account.key, bodyOf(GROQ_STREAM, ''))
      await until('all has come that will', () => tokensSeen(call) === 200)
      leave(call)
      const event = await assertRecordsAgree(stuck, account, await onlyCallOf(account, stuck))
      assert.deepEqual(
        [event.billingReason, event.tokens.output, event.usageSource],
        ['client_disconnected', 200, 'estimated'],
      )
      if (usageAsItGoes) assert.equal(event.tokens.input, 600)
      assert.equal(await holdsOf(stuck.database, account.id), 0)
    })
    await Promise.all(calls)
    await until('it was dropped', () => upstream.exchanges.every((exchange) => exchange.isDropped()))
  }
})

test('a client that leaves when all has come but the end is charged for all', async () => {
  for (const kind of [...STREAMS, ...IN_ONE_PIECE]) {
    for (const leave of Object.values(WAYS)) {
      const account = await mesh.account({ creditUsd: CREDIT })
      await leaveBeforeCharge(account, kind, leave)
      const event = await assertRecordsAgree(mesh, account, await onlyCallOf(account))
      // Whether the last of it was read before he left is told by nothing; what he pays is the same.
      assert.ok(['completed', 'client_disconnected'].includes(event.billingReason))
      assert.equal(event.tokens.output, TOKENS)
      assert.equal(await holdsOf(mesh.database, account.id), 0)
    }
  }
})

/** Leaves while the books cannot be written: somebody else holds the account's balance. */
async function leaveBeforeCharge(
  account: TestAccount,
  kind: Kind,
  leave: (call: OpenCall) => void,
): Promise<void> {
  const call = open(mesh, account.key, bodyOf(kind, `tokens=${TOKENS},hold`))
  await mesh.simulator.until(({ held }) => held === 1)
  const client = await mesh.database.pool.connect()
  try {
    await client.query('begin')
    await client.query('select from balances where account_id = $1 for update', [account.id])
    mesh.simulator.release()
    await mesh.simulator.until(({ running }) => running === 0)
    if (kind.stream) await until('all content has come', () => tokensSeen(call) === TOKENS)
    leave(call)
    await until('the connection has ended', () => call.isEnded())
    assert.ok(!call.text().includes('finish_reason":"'))
  } finally {
    await client.query('rollback')
    client.release()
  }
}

test('a client that reads the finish chunk and no further has had his answer', async () => {
  for (const leave of Object.values(WAYS)) {
    const account = await mesh.account({ creditUsd: CREDIT })
    const call = open(mesh, account.key, bodyOf(GROQ_STREAM, `tokens=${TOKENS}`))
    await until('the finish chunk has come', () => call.text().includes('"finish_reason":"stop"'))
    leave(call)
    const [{ id }] = chunksOf(call.text().slice(0, call.text().indexOf('\n\n') + 2))
    const event = await assertRecordsAgree(mesh, account, id)
    assert.deepEqual([event.billingReason, event.tokens.output], ['completed', TOKENS])
  }
})

test('every protocol that is built is left here, and every way in which providers bill', () => {
  const tried = [...STREAMS, ...IN_ONE_PIECE].map((kind) => {
    const endpoint = endpointOf(kind)
    return { protocol: endpoint?.protocol, cancelStopsBilling: endpoint?.cancelStopsBilling }
  })
  const built = loadCatalog()
    .models.filter(({ kind }) => kind === 'chat')
    .flatMap(({ endpoints }) => endpoints)
    .filter(({ protocol }) => protocolFor(protocol))
  for (const { protocol, cancelStopsBilling } of built) {
    assert.ok(
      tried.some((one) => one.protocol === protocol && one.cancelStopsBilling === cancelStopsBilling),
      `${protocol}, cancelStopsBilling ${cancelStopsBilling}`,
    )
  }
})
