import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { formatUsd } from '@mesh/catalog/money.ts'
import fc from 'fast-check'
import {
  assertRecordsAgree,
  bookOf,
  chargedNano,
  chat,
  chunksOf,
  holdsOf,
  nano,
  requestIdOf,
  send,
} from './support/calls.ts'
import { type Answered, startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

let mesh: TestRouter
/** One whose holds are widened in small steps, so that short answers reach every turn of that. */
let inSmallSteps: TestRouter
before(async () => {
  mesh = await startTestRouter()
  inSmallSteps = await startTestRouter({
    policy: { holds: { outputSliceTokens: 200, outputFloorTokens: 20 }, calls: { idleTimeoutMs: 200 } },
  })
})
after(async () => {
  await Promise.all([mesh.stop(), inSmallSteps.stop()])
})

const SONNET = 'mesh/claude-sonnet-4.5'

/** What an account has is its grant less what its calls were charged, and nothing of it is held. */
async function assertBookIs({ database }: TestRouter, account: TestAccount, leftNano: bigint): Promise<void> {
  await until('nothing is held', async () => (await holdsOf(database, account.id)) === 0)
  assert.deepEqual(await bookOf(database, account.id), { balanceNano: leftNano, heldNano: 0n })
}

/** The body of an answer's end, whether it was streamed or not. */
// biome-ignore lint/suspicious/noExplicitAny: what a test expects of an answer is what it asserts
function endOf({ json, text }: Answered): any {
  return json ?? chunksOf(text).findLast(({ choices }) => choices[0]?.finish_reason)
}

const FAULTS = [
  ',cut_stream',
  ',malformed',
  ',early_eof',
  ',error_mid',
  ',error_first',
  ',empty',
  ',server_error',
  ',stall=1',
] as const

/** What can be asked for, and what a provider can do to it. Weighted towards calls that are charged. */
const callsOfOneAccount = fc.array(
  fc.record({
    model: fc.constantFrom('mesh/gpt-4o-mini', SONNET, 'gpt-5-mini', 'mesh/gpt-oss-120b', 'mesh/nova-2-lite'),
    stream: fc.boolean(),
    max_tokens: fc.option(fc.integer({ min: 1, max: 800 }), { nil: undefined }),
    n: fc.constantFrom(undefined, undefined, undefined, 2),
    tokens: fc.integer({ min: 1, max: 800 }),
    usage: fc.constantFrom('', '', ',lying_usage=negative', ',lying_usage=huge', ',lying_usage=missing'),
    fault: fc.oneof(
      { weight: 3, arbitrary: fc.constant('') },
      { weight: 1, arbitrary: fc.constantFrom(...FAULTS) },
    ),
  }),
  { minLength: 1, maxLength: 4 },
)

test('peer bug 3 (litellm PR#40002): whatever is asked and whatever providers do, settled is within held, nothing is lost, nobody owes', async () => {
  const router = inSmallSteps
  await fc.assert(
    fc.asyncProperty(
      callsOfOneAccount,
      fc.integer({ min: 300, max: 30_000 }),
      async (asked, creditMicroUsd) => {
        const creditNano = BigInt(creditMicroUsd) * 1_000n
        const account = await router.account({ creditUsd: formatUsd(creditNano) })
        const answers = await Promise.all(
          asked.map(({ tokens, usage, fault, model, n, ...rest }) =>
            send(
              router,
              account.key,
              chat(`tokens=${tokens}${usage}${fault}`, {
                ...rest,
                model,
                // Anthropic's models give one answer.
                ...(n === undefined || model === SONNET ? {} : { n }),
              }),
            ),
          ),
        )
        let spentNano = 0n
        for (const [index, answer] of answers.entries()) {
          const event = await assertRecordsAgree(router, account, requestIdOf(answer))
          const totalNano = nano(event.cost.totalUsd)
          spentNano += totalNano
          const isWhole = event.billingReason === 'completed' || event.billingReason === 'truncated_by_length'
          if (isWhole || event.billingReason === 'credit_cutoff') {
            assert.ok(totalNano > 0n, `an answer was free: ${JSON.stringify(asked[index])}`)
          }
          if (answer.status === 200 && endOf(answer)?.usage) assert.equal(chargedNano(answer), totalNano)
        }
        await assertBookIs(router, account, creditNano - spentNano)
      },
    ),
    // A run is a second of real calls: it is told by its seed, not shrunk.
    { numRuns: 25, endOnFailure: true },
  )
})

test('an answer that credit cannot carry to its end is cut, and what came is charged', async () => {
  for (const stream of [true, false]) {
    const account = await mesh.account({ creditUsd: '0.10' })
    const answer = await send(mesh, account.key, chat('tokens=20000', { model: SONNET, stream }))
    assert.equal(answer.status, 200)
    assert.equal(answer.text.includes('[DONE]'), stream)
    assert.equal(endOf(answer).choices[0].finish_reason, 'length')
    const event = await assertRecordsAgree(mesh, account, requestIdOf(answer))
    assert.deepEqual(
      [event.billingReason, event.finishReason, event.status],
      ['credit_cutoff', 'length', 200],
    )
    const totalNano = nano(event.cost.totalUsd)
    assert.ok(totalNano > 0n && totalNano <= 100_000_000n)
    assert.equal(chargedNano(answer), totalNano)
    await assertBookIs(mesh, account, 100_000_000n - totalNano)
  }
})

test('a limit cuts an answer just as credit does', async () => {
  const account = await mesh.account({ limits: { dailyUsdLimit: '0.10' } })
  const answer = await send(mesh, account.key, chat('tokens=20000', { model: SONNET, stream: true }))
  const event = await assertRecordsAgree(mesh, account, requestIdOf(answer))
  assert.equal(event.billingReason, 'credit_cutoff')
  assert.ok(nano(event.cost.totalUsd) <= 100_000_000n)
})

test('an answer that credit can carry grows beyond its first slice to its own end', async () => {
  const account = await mesh.account({ creditUsd: '5.00' })
  const answer = await send(mesh, account.key, chat('tokens=3000', { model: SONNET, stream: true }))
  const event = await assertRecordsAgree(mesh, account, requestIdOf(answer))
  assert.deepEqual([event.billingReason, event.finishReason], ['completed', 'stop'])
  assert.equal(event.tokens.output, 3_000)
  await assertBookIs(mesh, account, 5_000_000_000n - nano(event.cost.totalUsd))
})

test('a max_tokens that the balance cannot carry is lowered, and said so', async () => {
  for (const stream of [true, false]) {
    const account = await mesh.account({ creditUsd: '0.05' })
    const body = chat('tokens=9000', { model: SONNET, stream, max_tokens: 8_000 })
    const answer = await send(mesh, account.key, body)
    assert.equal(answer.status, 200, answer.text)
    const { routing, choices, usage } = endOf(answer)
    assert.equal(choices[0].finish_reason, 'length')
    assert.equal(routing.output_cap_by, 'balance')
    assert.ok(routing.output_cap < 8_000 && routing.output_cap >= 256)
    assert.equal(usage.completion_tokens, routing.output_cap)
    const event = await assertRecordsAgree(mesh, account, requestIdOf(answer))
    assert.equal(event.routing.output_cap, routing.output_cap)
    assert.equal(event.billingReason, 'truncated_by_length')
    assert.equal(mesh.simulator.stats().records.at(-1)?.outputTokens, routing.output_cap)
  }
})

/** Sonnet at Anthropic, which stops billing when it is left, with Bedrock behind it, which bills on. */
const withBedrockBehind = (steering: string, extra: Record<string, unknown> = {}) =>
  chat(steering, { model: SONNET, provider: { order: ['anthropic', 'amazon-bedrock'] }, ...extra })

test('only a candidate that bills on has all that it can write held, and only when its turn comes', async () => {
  const account = await mesh.account({ creditUsd: '5.00' })
  const heldFor = async (steering: string, stream: boolean): Promise<bigint> => {
    const answer = await send(mesh, account.key, withBedrockBehind(steering, { stream }))
    assert.equal(answer.status, 200, answer.text)
    assert.equal(endOf(answer).routing.output_cap, undefined)
    return nano((await assertRecordsAgree(mesh, account, requestIdOf(answer))).cost.heldUsd)
  }
  for (const stream of [true, false]) {
    const sliceNano = await heldFor('tokens=50', stream)
    const wholeNano = await heldFor('anthropic=overloaded,tokens=50', stream)
    // 64,000 tokens against 4,096, beside the input.
    assert.ok(sliceNano < 100_000_000n, `${sliceNano} was held`)
    assert.ok(wholeNano > 64_000n * 15_000n && wholeNano < 64_000n * 15_750n * 2n, `${wholeNano} was held`)
  }
})

test('a fallback that bills on is told no more output than the balance carries, and said so', async () => {
  for (const stream of [true, false]) {
    const account = await mesh.account({ creditUsd: '0.20' })
    const body = withBedrockBehind('anthropic=overloaded,tokens=20000', { stream })
    const answer = await send(mesh, account.key, body)
    assert.equal(answer.status, 200, answer.text)
    const { routing, choices, usage } = endOf(answer)
    assert.equal(routing.selected.provider, 'amazon-bedrock')
    assert.equal(choices[0].finish_reason, 'length')
    assert.equal(routing.output_cap_by, 'balance')
    assert.ok(routing.output_cap > 4_096 && routing.output_cap < 20_000, routing.output_cap)
    assert.equal(usage.completion_tokens, routing.output_cap)
    const event = await assertRecordsAgree(mesh, account, requestIdOf(answer))
    assert.equal(event.billingReason, 'truncated_by_length')
    await assertBookIs(mesh, account, 200_000_000n - nano(event.cost.totalUsd))
  }
})

test('below the useful floor a call is refused, and nothing of it leaves', async () => {
  const account = await mesh.account({ creditUsd: '0.004' })
  const { requests } = mesh.simulator.stats()
  const refused = await send(mesh, account.key, chat('tokens=9000', { model: SONNET, max_tokens: 8_000 }))
  assert.equal(refused.status, 402)
  const { code, metadata } = refused.json.error
  assert.equal(code, 'insufficient_credits')
  assert.equal(metadata.availableUsd, '0.004000000')
  assert.ok(nano(metadata.neededUsd) > 4_000_000n)
  assert.equal(mesh.simulator.stats().requests, requests)
  // As much as fits is carried: a smaller wish is its own floor.
  const small = await send(mesh, account.key, chat('tokens=50', { model: SONNET, max_tokens: 50 }))
  assert.equal(small.status, 200, small.text)
  const event = await assertRecordsAgree(mesh, account, requestIdOf(small))
  await assertBookIs(mesh, account, 4_000_000n - nano(event.cost.totalUsd))
})

/** What a provider that lies reports, and how it is told that MESH did not believe it. */
const LIES = [
  { lie: 'negative', flags: ['negative', 'missing'], reason: 'estimated_usage' },
  { lie: 'missing', flags: ['missing'], reason: 'estimated_usage' },
  { lie: 'huge', flags: ['exceeds_context', 'exceeds_hold', 'above_estimate'], reason: 'completed' },
] as const

for (const { lie, flags, reason } of LIES) {
  test(`usage that is ${lie} is never believed and never free`, async () => {
    for (const model of ['mesh/gpt-4o-mini', SONNET]) {
      for (const stream of [true, false]) {
        const account = await mesh.account()
        const honest = await send(mesh, account.key, chat('tokens=100', { model, stream }))
        const answer = await send(mesh, account.key, chat(`tokens=100,lying_usage=${lie}`, { model, stream }))
        assert.equal(answer.status, 200)
        const event = await assertRecordsAgree(mesh, account, requestIdOf(answer))
        assert.equal(event.billingReason, reason)
        for (const flag of flags) assert.ok(event.usageFlags.includes(flag), `${flag}: ${event.usageFlags}`)
        // What was seen bounds what is charged: bytes as tokens, and what formats may add.
        const { output } = event.tokens
        assert.ok(output >= 100 && output <= 100 * 4 + 300, `${output} output tokens were charged for 100`)
        assert.ok(chargedNano(answer) > 0n)
        assert.ok(chargedNano(answer) * 20n > chargedNano(honest))
        assert.ok(Object.values(event.tokens).every((count) => Number(count) >= 0))
      }
    }
  })
}
