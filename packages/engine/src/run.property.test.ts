import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BUCKETS, inputTokens, outputTokens } from '@mesh/catalog/token-buckets.ts'
import fc from 'fast-check'
import { exampleAsk, exampleCandidate, exampleShape } from '../test/support/examples.ts'
import { fakeClock } from '../test/support/fake-clock.ts'
import {
  type ScriptedExchange,
  scriptedProtocol,
  scriptedTransport,
} from '../test/support/scripted-upstream.ts'
import type { Failure } from './failure.ts'
import { ATTEMPTS_MAX, type Candidate } from './plan.ts'
import { DEFAULT_ANSWER_BOUNDS } from './protocol.ts'
import { run } from './run.ts'
import type { RunOutcome } from './run-outcome.ts'
import type { StreamEvent } from './stream-event.ts'

/** One thing that a provider does; what is said is marked with its exchange's number. */
type Move =
  | { readonly move: 'sent' | 'head' | 'end' | 'finish' | 'garble' | 'ping' | 'unasked' }
  | { readonly move: 'text' | 'reasoning'; readonly bytes: number }
  | { readonly move: 'usage'; readonly input: number; readonly output: number }
  | { readonly move: 'fail' | 'refuse'; readonly failure: Failure }
  | { readonly move: 'wait'; readonly durationMs: number }
  | { readonly move: 'leave' }

const failure = fc.record({
  outcome: fc.constantFrom<Failure['outcome']>(
    'not_dispatched',
    'refused_unbilled',
    'uncertain',
    'request_fault',
  ),
  reason: fc.constantFrom<Failure['reason']>(
    'rate_limited',
    'connection_cut',
    'context_length',
    'server_error',
  ),
})

const move: fc.Arbitrary<Move> = fc.oneof(
  { arbitrary: fc.record({ move: fc.constantFrom('sent', 'head', 'end', 'finish', 'garble') }), weight: 6 },
  { arbitrary: fc.record({ move: fc.constantFrom('text', 'reasoning'), bytes: fc.nat(900) }), weight: 5 },
  // Faults that HTTP has nothing against: bytes without output, answers that nobody asked for, more than was allowed.
  { arbitrary: fc.record({ move: fc.constantFrom('ping', 'unasked') }), weight: 1 },
  { arbitrary: fc.record({ move: fc.constant('text'), bytes: fc.nat(400_000) }), weight: 1 },
  {
    arbitrary: fc.record({ move: fc.constant('usage'), input: fc.nat(3_000), output: fc.nat(5_000) }),
    weight: 1,
  },
  { arbitrary: fc.record({ move: fc.constantFrom('fail', 'refuse'), failure }), weight: 2 },
  { arbitrary: fc.record({ move: fc.constant('wait'), durationMs: fc.nat(40_000) }), weight: 2 },
  { arbitrary: fc.record({ move: fc.constant('leave') }), weight: 1 },
)

function eventsOf(play: Move, mark: string): StreamEvent[] {
  switch (play.move) {
    case 'text':
    case 'reasoning':
      return [{ type: play.move, choice: 0, text: mark.repeat(play.bytes) }]
    case 'usage':
      return [
        {
          type: 'usage',
          usage: { buckets: { ...EMPTY_BUCKETS, input: play.input, output: play.output }, flags: [] },
        },
      ]
    case 'finish':
      return [{ type: 'finish', choice: 0, reason: 'stop' }, { type: 'end' }]
    case 'ping':
      return [{ type: 'text', choice: 0, text: '' }]
    case 'unasked':
      return [{ type: 'text', choice: 1, text: mark }]
    case 'garble':
      return [{ type: 'failure', failure: { outcome: 'uncertain', reason: 'malformed' } }]
    default:
      return []
  }
}

/** Plays a provider as HTTP allows it: a head after the request, a body after the head. */
class Provider {
  readonly #exchange: ScriptedExchange
  readonly #mark: string
  #stage: 'waiting' | 'sent' | 'answering' | 'over' = 'waiting'

  constructor(exchange: ScriptedExchange, mark: string) {
    this.#exchange = exchange
    this.#mark = mark
  }

  play(next: Move): void {
    if (this.#stage === 'over') return
    if (next.move === 'fail') {
      this.#stage = 'over'
      this.#exchange.fail(next.failure)
    } else if (this.#stage === 'waiting') {
      this.#stage = 'sent'
      this.#exchange.sent()
    } else if (this.#stage === 'sent') {
      this.#answer(next)
    } else if (next.move === 'end') {
      this.#stage = 'over'
      this.#exchange.end()
    } else {
      const events = eventsOf(next, this.#mark)
      if (events.length > 0) this.#exchange.say(...events)
    }
  }

  #answer(next: Move): void {
    if (next.move === 'refuse') {
      this.#stage = 'over'
      this.#exchange.head(503).chunk(JSON.stringify(next.failure)).end()
    } else {
      this.#stage = 'answering'
      this.#exchange.head()
    }
  }
}

interface Played {
  readonly outcome: RunOutcome
  readonly written: string
  readonly replied: string
  readonly opened: number
  readonly sends: number
  readonly held: number
  readonly timersLeft: number
  readonly unfinished: number
}

interface Game {
  readonly moves: readonly Move[]
  readonly stream: boolean
  readonly held: number
  readonly cap: number
  readonly grants: readonly number[]
  readonly cancelStopsBilling: boolean
  readonly thinks: boolean
}

async function playGame(game: Game): Promise<Played> {
  const clock = fakeClock()
  const reader = new AbortController()
  const providers: Provider[] = []
  const transport = scriptedTransport((exchange) => {
    providers.push(new Provider(exchange, String.fromCharCode('a'.charCodeAt(0) + providers.length)))
  })
  const candidates: Candidate[] = Array.from({ length: ATTEMPTS_MAX }, (_, at) =>
    exampleCandidate(`provider-${at}`, {
      cancelStopsBilling: game.cancelStopsBilling,
      reasoningOptions: game.thinks ? [{ type: 'toggle' }] : [],
    }),
  )
  const cap = Math.max(game.held, game.cap)
  const grants = [...game.grants]
  let held = game.cancelStopsBilling ? game.held : cap
  let written = ''
  let replied = ''
  let opened = 0
  let outcomes = 0
  const running = run({
    engine: {
      transport,
      protocolFor: () => scriptedProtocol,
      targetFor: () => ({ baseUrl: 'https://upstream.test', headers: {} }),
      clock,
      limits: {
        connectTimeoutMs: 5_000,
        firstByteTimeoutMs: 30_000,
        idleTimeoutMs: 20_000,
        outputTimeoutMs: 60_000,
        answer: DEFAULT_ANSWER_BOUNDS,
        deadlineMs: 300_000,
        drainMs: 10_000,
        outputSliceTokens: 1_000,
      },
    },
    plan: { candidates },
    ask: exampleAsk({ stream: game.stream }),
    shape: exampleShape(),
    budget: {
      outputTokensHeld: held,
      outputTokensCap: cap,
      extend(wanted) {
        held = Math.min(wanted, held + (grants.shift() ?? 0))
        return Promise.resolve(held)
      },
    },
    sink: {
      head: () => {},
      write(bytes) {
        if (!String(bytes).startsWith(':')) written += String(bytes)
        return Promise.resolve()
      },
    },
    openReply() {
      opened++
      return {
        event(event) {
          if (event.type !== 'text' && event.type !== 'reasoning') return ''
          replied += event.text
          return event.text
        },
      }
    },
    signal: reader.signal,
    startedAtMs: 0,
  }).then((outcome) => {
    outcomes++
    return outcome
  })
  for (const next of game.moves) {
    if (next.move === 'leave') reader.abort()
    else providers.at(-1)?.play(next)
    await clock.advance(next.move === 'wait' ? next.durationMs : 0)
  }
  // Whatever was left open falls to the time-outs.
  await clock.advance(600_000)
  assert.equal(outcomes, 1)
  return {
    outcome: await running,
    written,
    replied,
    opened,
    sends: transport.exchanges.length,
    held,
    timersLeft: clock.timerCount,
    unfinished: transport.exchanges.filter((exchange) => exchange.isPaused && !exchange.isAborted).length,
  }
}

test('whatever providers, books and readers do, a call has one answer, one outcome, and fits its hold', async () => {
  const game: fc.Arbitrary<Game> = fc.record({
    moves: fc.array(move, { maxLength: 40 }),
    stream: fc.boolean(),
    held: fc.integer({ min: 1, max: 3_000 }),
    cap: fc.nat(6_000),
    grants: fc.array(fc.nat(1_500), { maxLength: 8 }),
    cancelStopsBilling: fc.boolean(),
    thinks: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(game, async (rules) => {
      const played = await playGame(rules)
      const { outcome, written, replied } = played
      // Never bytes of two upstreams: every character of an answer is the same provider's mark.
      assert.ok(new Set(replied).size <= 1)
      assert.ok(played.opened <= 1)
      assert.ok(replied.startsWith(written))
      const mark = outcome.served && String.fromCharCode('a'.charCodeAt(0) + outcome.attempts.length - 1)
      if (outcome.status !== 'client_gone') assert.ok(replied === '' || replied[0] === mark)
      assert.ok(outcome.attempts.length <= ATTEMPTS_MAX)
      assert.ok(played.sends <= ATTEMPTS_MAX)
      assert.equal(outcome.contentSent, written !== '')
      // What is charged fits the hold, and what was let out is charged unless the answer failed.
      assert.ok(outputTokens(outcome.usage.buckets) <= played.held)
      assert.ok(inputTokens(outcome.usage.buckets) <= 1_000)
      if (outcome.status === 'completed' && replied !== '') assert.ok(outputTokens(outcome.usage.buckets) > 0)
      // The words fit together, and nothing is left behind.
      const isBroken = outcome.status === 'failed' || outcome.status === 'deadline'
      assert.equal(isBroken, outcome.failure !== undefined)
      // No token is longer than 128 bytes: what was let out fits the output that was allowed.
      assert.ok(Math.floor(replied.length / 128) <= Math.max(played.held, rules.cap))
      if (outcome.status === 'deadline') assert.ok(outcome.served && written !== '')
      if (outcome.status === 'completed' || outcome.status === 'cut')
        assert.ok(outcome.served && outcome.finishReason)
      assert.equal(outcome.usage.source === 'none', outcome.served === undefined)
      assert.deepEqual([played.timersLeft, played.unfinished], [0, 0])
    }),
    { numRuns: 300 },
  )
})
