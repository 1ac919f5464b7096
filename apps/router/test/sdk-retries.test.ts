import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import OpenAI7 from 'openai'
import OpenAI6 from 'openai-6'
import { assertRecordsAgree, bookOf, chat, nano, open } from './support/calls.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

/** Both majors have the same surface for what is used here; only the names of their types differ. */
const SDKS = [
  { name: 'openai 7', OpenAI: OpenAI7 },
  { name: 'openai 6', OpenAI: OpenAI6 as unknown as typeof OpenAI7 },
] as const
type Client = InstanceType<typeof OpenAI7>
type Params = Parameters<Client['chat']['completions']['create']>[0]

const TOKENS = 40
const CREDIT = '1.00'
/** Long enough for a request to reach its provider on a busy machine. */
const TIMEOUT_MS = 700

/** One request that a client sent, with what came back; nothing where the client gave up on it. */
interface Sent {
  readonly atMs: number
  status?: number
  retryAfterMs?: number
  shouldRetry?: string | null
}

/** A stock client with its own retries, and what it sends. `beforeRetry` holds every request but the first back. */
function connect(
  OpenAI: typeof OpenAI7,
  mesh: TestRouter,
  { key }: TestAccount,
  options: { maxRetries: number; timeout?: number; beforeRetry?: () => Promise<void> },
) {
  const sent: Sent[] = []
  const { beforeRetry, ...rest } = options
  const client = new OpenAI({
    baseURL: mesh.baseUrl,
    apiKey: key,
    ...rest,
    async fetch(input, init) {
      if (sent.length > 0) await beforeRetry?.()
      const one: Sent = { atMs: performance.now() }
      sent.push(one)
      const response = await fetch(input, init)
      one.status = response.status
      one.retryAfterMs = Number(response.headers.get('retry-after-ms'))
      one.shouldRetry = response.headers.get('x-should-retry')
      return response
    },
  })
  return { client, sent }
}

/** The statuses that a client saw; `undefined` for a request that it gave up on. */
const statuses = (sent: readonly Sent[]): unknown[] => sent.map(({ status }) => status)

async function failureOf(
  call: Promise<unknown>,
): Promise<{ status?: number; code?: string; message: string }> {
  try {
    await call
  } catch (error) {
    assert.ok(error instanceof Error)
    return Object.assign(error)
  }
  assert.fail('the call did not fail')
}

/** The ids of an account's calls that were not refused, once there are so many. */
async function callsOf(mesh: TestRouter, { key }: TestAccount, count: number): Promise<string[]> {
  let ids: string[] = []
  await until(`${count} calls have their events`, async () => {
    const { json } = await mesh.request('GET', '/v1/logs', { key })
    ids = json.data
      .filter(({ billingReason }: { billingReason: string }) => billingReason !== 'rejected_not_billed')
      .map(({ id }: { id: string }) => id)
    return ids.length >= count
  })
  assert.equal(ids.length, count)
  return ids
}

/** Asserts that each call of an account is settled and that nothing else was taken; returns their events. */
async function settledCalls(mesh: TestRouter, account: TestAccount, count: number) {
  const ids = await callsOf(mesh, account, count)
  const events = await Promise.all(ids.map((id) => assertRecordsAgree(mesh, account, id)))
  const spentNano = events.reduce((sum, { cost }) => sum + nano(cost.totalUsd), 0n)
  const balanceNano = nano(CREDIT) - spentNano
  assert.deepEqual(await bookOf(mesh.database, account.id), { balanceNano, heldNano: 0n })
  return events
}

const asParams = (body: object): Params => body as unknown as Params

suite('retries of stock clients', { concurrency: true }, () => {
  for (const { name, OpenAI } of SDKS) {
    suite(`${name}: retries`, { concurrency: 1 }, () => {
      let mesh: TestRouter
      before(async () => {
        mesh = await startTestRouter()
      })
      after(() => mesh.stop())
      const newAccount = (limits: object = {}): Promise<TestAccount> =>
        mesh.account({ creditUsd: CREDIT, limits: { ...limits } })

      for (const stream of [false, true]) {
        const how = stream ? 'streamed' : 'whole'

        test(`${how}, with an Idempotency-Key: a retry after a time-out is told to stop while the first call runs, and after it`, async () => {
          const account = await newAccount()
          const { client, sent } = connect(OpenAI, mesh, account, { maxRetries: 2, timeout: TIMEOUT_MS })
          const { requests } = mesh.simulator.stats()
          const create = () =>
            client.chat.completions.create(
              asParams(chat(`tokens=${TOKENS},hold`, { stream, max_tokens: 100 })),
              {
                headers: { 'Idempotency-Key': `once-${how}` },
              },
            )
          const running = await failureOf(create())
          assert.deepEqual([running.status, running.code], [409, 'idempotency_in_progress'])
          assert.deepEqual(statuses(sent), [undefined, 409])
          assert.equal(sent.at(-1)?.shouldRetry, 'false')
          assert.equal(mesh.simulator.stats().requests, requests + 1)
          mesh.simulator.release()
          const [event] = await settledCalls(mesh, account, 1)
          assert.equal(event.billingReason, 'client_disconnected')
          const ended = await failureOf(create())
          assert.deepEqual([ended.status, ended.code], [409, 'idempotency_replay'])
          assert.deepEqual(statuses(sent), [undefined, 409, 409])
          assert.equal(mesh.simulator.stats().requests, requests + 1)
          await settledCalls(mesh, account, 1)
        })
      }

      test('with an Idempotency-Key: a retry that comes when the first call was charged is a replay, and costs nothing', async () => {
        const account = await newAccount()
        const { client, sent } = connect(OpenAI, mesh, account, {
          maxRetries: 2,
          timeout: TIMEOUT_MS,
          async beforeRetry() {
            mesh.simulator.release()
            await callsOf(mesh, account, 1)
          },
        })
        const body = asParams(chat(`tokens=${TOKENS},hold`))
        const failure = await failureOf(
          client.chat.completions.create(body, { headers: { 'Idempotency-Key': 'replay' } }),
        )
        assert.deepEqual([failure.status, failure.code], [409, 'idempotency_replay'])
        assert.deepEqual(statuses(sent), [undefined, 409])
        const [event] = await settledCalls(mesh, account, 1)
        assert.ok(nano(event.cost.totalUsd) > 0n)
      })

      test('without one, each time-out is a call of its own that its client left', async () => {
        const kinds = await Promise.all(
          [false, true].map(async (stream) => ({ stream, account: await newAccount() })),
        )
        const { requests } = mesh.simulator.stats()
        await Promise.all(
          kinds.map(async ({ stream, account }) => {
            const { client, sent } = connect(OpenAI, mesh, account, { maxRetries: 2, timeout: TIMEOUT_MS })
            const body = chat(`tokens=${TOKENS},hold`, { stream, ...(stream ? {} : { max_tokens: 100 }) })
            const failure = await failureOf(client.chat.completions.create(asParams(body)))
            assert.match(failure.message, /timed out/i)
            assert.deepEqual(statuses(sent), [undefined, undefined, undefined])
          }),
        )
        assert.equal(mesh.simulator.stats().requests, requests + 6)
        mesh.simulator.release()
        for (const { stream, account } of kinds) {
          const events = await settledCalls(mesh, account, 3)
          // The last one may not be known to have left when its provider goes on.
          const reasons = events
            .map(({ billingReason }) => billingReason)
            .filter((reason) => reason !== 'completed')
          assert.ok(reasons.length >= 2 && reasons.every((reason) => reason === 'client_disconnected'))
          // What is asked for in one piece is made whole; a stream is stopped as soon as it is accepted.
          for (const { tokens } of events) {
            assert.ok(stream ? tokens.output <= TOKENS : tokens.output === TOKENS)
          }
        }
      })

      test('429 and 503 are sent again when Retry-After says, and not before', async () => {
        const busy = await newAccount({ maxConcurrentRequests: 1 })
        const running = open(mesh, busy.key, chat('hold'))
        await mesh.simulator.until(({ held }) => held === 1)
        const limited = connect(OpenAI, mesh, busy, {
          maxRetries: 1,
          async beforeRetry() {
            mesh.simulator.release()
            await callsOf(mesh, busy, 1)
          },
        })
        const overloaded = connect(OpenAI, mesh, await newAccount(), { maxRetries: 1 })
        const [answer, failure] = await Promise.all([
          limited.client.chat.completions.create(asParams(chat())),
          failureOf(overloaded.client.chat.completions.create(asParams(chat('overloaded')))),
        ])
        assert.ok('id' in answer)
        assert.equal(failure.code, 'provider_overloaded')
        assert.deepEqual(statuses(limited.sent), [429, 200])
        assert.deepEqual(statuses(overloaded.sent), [503, 503])
        for (const [first, second] of [limited.sent, overloaded.sent]) {
          assert.ok(first?.retryAfterMs && second)
          // Their own first pause is half a second.
          assert.ok(first.retryAfterMs >= 1_000)
          assert.ok(second.atMs - first.atMs >= first.retryAfterMs)
        }
        await until('the first call has ended', () => running.isEnded())
      })

      test('402 is never sent again', async () => {
        const poor = await mesh.account({ creditUsd: '0' })
        const limited = await newAccount({ maxUsdPerRequest: '0.000000001' })
        for (const [account, code] of [
          [poor, 'insufficient_credits'],
          [limited, 'limit_exceeded'],
        ] as const) {
          const { client, sent } = connect(OpenAI, mesh, account, { maxRetries: 2 })
          const failure = await failureOf(client.chat.completions.create(asParams(chat())))
          assert.deepEqual([failure.status, failure.code], [402, code])
          assert.deepEqual(
            sent.map(({ status, shouldRetry }) => [status, shouldRetry]),
            [[402, 'false']],
          )
        }
      })
    })
  }
})
