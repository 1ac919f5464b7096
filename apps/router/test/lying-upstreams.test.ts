import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { bookOf, nano } from './support/calls.ts'
import {
  ANTHROPIC,
  answerOf,
  DIALECTS,
  type Dialect,
  INPUT_TOKENS,
  OPENAI,
  OUTPUT_TOKENS,
  PIECES,
  type Report,
  wholeBody,
} from './support/hostile-answers.ts'
import { type HostileAnswer, type HostileWorld, startHostileWorld } from './support/hostile-calls.ts'

/*
 * What providers say about their own numbers, and what is charged. A count that cannot be true is lowered or raised to
 * what can be, or estimated; one that is only unlikely is charged and pointed out; all of it shows in the event's
 * flags. Nothing is free because its provider cannot count, and nothing costs more than was held.
 */

let world: HostileWorld
before(async () => {
  world = await startHostileWorld()
})
after(() => world.stop())

/** Our own estimates: of the prompt that every call has, and of its answer. */
const INPUT_ESTIMATED = 17
const OUTPUT_ESTIMATED = OUTPUT_TOKENS
/** What is held for the prompt: its bytes, and constants for the call and its message. */
const INPUT_MOST = 37 + 16 + 256
/** The most that the answer can come to: its bytes, and constants for the format around it. */
const OUTPUT_MOST = 6 * PIECES + 16 + 256

interface Lie {
  readonly name: string
  /** What is reported; `null` for nothing at all. */
  readonly report: (dialect: Dialect) => Report | null
  /** Rewrites the bytes, for what no JSON writer writes. */
  readonly rewrite?: (body: string) => string
  readonly pieces?: number
  readonly charged: { readonly input: number; readonly output: number }
  readonly flags: readonly string[]
  /** Whether the numbers that are charged are ours. */
  readonly isEstimated: boolean
  /** Where it can be told at all. */
  readonly by?: Dialect
}

/** Both counts are the same nonsense. */
function both(count: unknown): Lie['report'] {
  return (dialect) => dialect.report({ input: count, output: count })
}

const ESTIMATED = { input: INPUT_ESTIMATED, output: OUTPUT_ESTIMATED }
const HONEST = { input: INPUT_TOKENS, output: OUTPUT_TOKENS }

const LIES: readonly Lie[] = [
  {
    name: 'the truth',
    report: (dialect) => dialect.report(),
    charged: HONEST,
    flags: [],
    isEstimated: false,
  },
  { name: 'nothing', report: () => null, charged: ESTIMATED, flags: ['missing'], isEstimated: true },
  {
    name: 'peer bug 18 (octopus#243): negative counts',
    report: both(-30),
    charged: ESTIMATED,
    flags: ['missing', 'negative'],
    isEstimated: true,
  },
  { name: 'zero', report: both(0), charged: ESTIMATED, flags: ['missing'], isEstimated: true },
  { name: 'null', report: both(null), charged: ESTIMATED, flags: ['missing'], isEstimated: true },
  {
    name: 'texts',
    report: both('30'),
    charged: ESTIMATED,
    flags: ['missing', 'not_an_integer'],
    isEstimated: true,
  },
  {
    name: '1e400',
    report: both(123_456),
    rewrite: (body) => body.replaceAll('123456', '1e400'),
    charged: ESTIMATED,
    flags: ['missing', 'not_an_integer'],
    isEstimated: true,
  },
  { name: 'fractions', report: both(29.5), charged: HONEST, flags: ['not_an_integer'], isEstimated: false },
  {
    name: 'the same count twice, at first another',
    report: both(30),
    rewrite: (body) => body.replaceAll(/("\w+_tokens"):30/g, '$1:99999,$1:30'),
    charged: HONEST,
    flags: [],
    isEstimated: false,
  },
  {
    name: 'more than was held and than the model takes',
    report: both(4_000_000_000),
    charged: { input: INPUT_MOST, output: OUTPUT_MOST },
    flags: ['above_estimate', 'exceeds_context', 'exceeds_hold'],
    isEstimated: false,
  },
  {
    name: 'more tokens than there are bytes',
    report: (dialect) => dialect.report({ output: 500 }),
    charged: { ...HONEST, output: OUTPUT_MOST },
    flags: ['above_estimate'],
    isEstimated: false,
  },
  {
    name: 'four times what was streamed',
    report: (dialect) => dialect.report({ output: 4 * OUTPUT_TOKENS }),
    charged: { ...HONEST, output: 4 * OUTPUT_TOKENS },
    flags: ['surprising'],
    isEstimated: false,
  },
  {
    name: 'a third of what was streamed',
    report: (dialect) => dialect.report({ output: 200 }),
    pieces: 400,
    charged: { ...HONEST, output: 200 },
    flags: ['surprising'],
    isEstimated: false,
  },
  {
    name: 'fewer tokens than the text can have',
    report: (dialect) => dialect.report({ output: 1 }),
    pieces: 400,
    charged: { ...HONEST, output: 600 },
    flags: ['below_estimate'],
    isEstimated: true,
  },
  {
    name: 'a total that its parts do not explain',
    report: (dialect) => ({ ...dialect.report(), total_tokens: 100 }),
    charged: { ...HONEST, output: 70 },
    flags: ['sum_mismatch'],
    isEstimated: false,
    by: OPENAI,
  },
  {
    name: 'more reasoning than output',
    report: (dialect) => ({ ...dialect.report(), completion_tokens_details: { reasoning_tokens: 40 } }),
    charged: { ...HONEST, output: 30 },
    flags: ['sum_mismatch'],
    isEstimated: false,
    by: OPENAI,
  },
  {
    name: 'more writes to the cache in parts than in all',
    report: (dialect) => ({
      ...dialect.report(),
      cache_creation_input_tokens: 10,
      cache_creation: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 0 },
    }),
    charged: HONEST,
    flags: ['sum_mismatch'],
    isEstimated: false,
    by: ANTHROPIC,
  },
]

/** A caller who streams, one who does not, and one whose answer is streamed to MESH alone. */
const WAYS = [
  { stream: true, more: { max_tokens: 1_000 } },
  { stream: false, more: { max_tokens: 1_000 } },
  { stream: false, more: {} },
] as const

/** Anthropic tells its input at the start of a stream as well, which a lie leaves out. */
function unopened(body: string): string {
  return body.replace(`"usage":{"input_tokens":${INPUT_TOKENS},"output_tokens":1}`, '"usage":null')
}

function assertCharged(answer: HostileAnswer, lie: Pick<Lie, 'charged' | 'flags' | 'isEstimated'>): void {
  const { event, status } = answer
  assert.equal(status, 200)
  assert.deepEqual({ input: event.tokens.input, output: event.tokens.output }, lie.charged)
  assert.deepEqual([...event.usageFlags].sort(), lie.flags)
  assert.equal(event.usageSource, lie.isEstimated ? 'estimated' : 'reported')
  assert.equal(event.billingReason, lie.isEstimated ? 'estimated_usage' : 'completed')
  assert.ok(answer.chargedNano > 0n)
}

suite('a provider that reports', { concurrency: 6 }, () => {
  for (const lie of LIES) {
    for (const dialect of DIALECTS.filter((each) => (lie.by ?? each) === each)) {
      test(`${dialect.provider}: ${lie.name}`, async () => {
        const account = await world.account()
        let paid = 0n
        for (const way of WAYS) {
          const answer = await world.call(account, {
            dialect,
            ...way,
            async play({ wire, streamed, noise }) {
              const { pieces = PIECES, rewrite = (body: string) => body } = lie
              const body = wholeBody(dialect, {
                mark: 'ALPHA',
                streamed,
                noise,
                report: lie.report(dialect),
                pieces,
              })
              await wire.write(answerOf(rewrite(streamed ? unopened(body) : body)))
              wire.end()
            },
          })
          assertCharged(answer, lie)
          paid += answer.chargedNano
        }
        await world.assertBook(account, paid)
      })
    }
  }

  for (const dialect of DIALECTS) {
    test(`${dialect.provider}: counts that shrink on the way`, async () => {
      const account = await world.account()
      const answer = await world.call(account, {
        dialect,
        stream: true,
        async play({ wire, noise }) {
          const first = dialect.finish(dialect.report({ input: 40, output: 35 }))
          const body = wholeBody(dialect, {
            mark: 'ALPHA',
            streamed: true,
            noise,
            report: dialect.report({ output: 2 }),
          })
          await wire.write(answerOf(body.replace(dialect.piece('ALPHA '), (piece) => piece + first)))
          wire.end()
        },
      })
      assertCharged(answer, { charged: { input: 40, output: 35 }, flags: ['shrinking'], isEstimated: false })
      await world.assertBook(account, answer.chargedNano)
    })
  }
})

test('what a stream says of its output before there is any is a placeholder, and not the truth for want of another', async () => {
  const account = await world.account()
  const answer = await world.call(account, {
    dialect: ANTHROPIC,
    stream: true,
    async play({ wire, noise }) {
      await wire.write(answerOf(wholeBody(ANTHROPIC, { mark: 'ALPHA', streamed: true, noise, report: null })))
      wire.end()
    },
  })
  assertCharged(answer, { charged: HONEST, flags: ['missing'], isEstimated: true })
})

test('peer bug 18 (DEEIX-Chat#477): a report beyond the balance is settled at what was held, never rolled back', async () => {
  for (const dialect of DIALECTS) {
    const credit = '0.003'
    const account = await world.account(credit)
    const answer = await world.call(account, {
      dialect,
      stream: true,
      more: { max_tokens: 40 },
      async play({ wire, noise }) {
        const report = dialect.report({ input: 1e9, output: 1e9 })
        await wire.write(answerOf(wholeBody(dialect, { mark: 'ALPHA', streamed: true, noise, report })))
        wire.end()
      },
    })
    assert.equal(answer.status, 200, answer.text)
    assert.equal(answer.content, 'ALPHA '.repeat(PIECES))
    assert.ok(answer.chargedNano > 0n && answer.chargedNano <= nano(answer.event.cost.heldUsd))
    const { balanceNano, heldNano } = await bookOf(world.mesh.database, account.id, true)
    assert.deepEqual([balanceNano, heldNano], [nano(credit) - answer.chargedNano, 0n])
    assert.ok(balanceNano >= 0n)
  }
})

test('peer bug 11 (litellm#36168): usage on a chunk that has choices counts, and goes out on one of its own', async () => {
  const account = await world.account()
  const { chunks, event } = await world.call(account, {
    dialect: OPENAI,
    stream: true,
    more: { stream_options: { include_usage: true } },
    async play({ wire, noise }) {
      const usage = JSON.stringify(OPENAI.report({ output: 31 }))
      const body = wholeBody(OPENAI, { mark: 'ALPHA', streamed: true, noise, report: null })
      await wire.write(
        answerOf(body.replace('"finish_reason":"stop"}]', `"finish_reason":"stop"}],"usage":${usage}`)),
      )
      wire.end()
    },
  })
  assert.deepEqual([event.tokens.output, event.usageSource], [31, 'reported'])
  const withUsage = chunks.filter(({ usage }) => usage)
  assert.deepEqual(
    withUsage.map(({ choices, usage }) => [choices, usage.completion_tokens]),
    [[[], 31]],
  )
})

test('peer bug 12 (any-llm#968): usage is asked for whatever the caller asks; unasked it rides on the finish chunk', async () => {
  const account = await world.account()
  let asked: unknown
  const { chunks, event } = await world.call(account, {
    dialect: OPENAI,
    stream: true,
    async play({ wire, noise, request }) {
      asked = JSON.parse(request.body).stream_options
      await wire.write(answerOf(wholeBody(OPENAI, { mark: 'ALPHA', streamed: true, noise })))
      wire.end()
    },
  })
  assert.deepEqual(asked, { include_usage: true })
  assert.equal(event.usageSource, 'reported')
  // A chunk without choices breaks clients that read `choices[0]` of every chunk, so only who asks for it gets one.
  assert.ok(chunks.every(({ choices }) => choices.length === 1))
  assert.equal(chunks.at(-1).usage.completion_tokens, OUTPUT_TOKENS)
})
