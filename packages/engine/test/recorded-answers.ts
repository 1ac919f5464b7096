import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { DEFAULT_ANSWER_BOUNDS, type Protocol } from '../src/protocol.ts'
import { decodeInPieces, type GatheredAnswer, gather } from './decode-in-pieces.ts'
import type { RecordedExchange } from './recorded-exchanges.ts'

export const ABSENT = 'SKIPPED: the recorded exchanges are not beside this project'

/** What a record holds, put together with none of the code under test. */
export interface Expected {
  text: string
  reasoning: string
  calls: { id: string; name: string; arguments: unknown; signature?: string }[]
  /** Signatures that came outside a call, where a protocol's expectation has them. */
  signatures?: string[]
  finish: string | undefined
  inputTotal: number
  outputTotal: number
  reasoningTokens: number
  cacheRead: number
  cacheWrite: number
  error: boolean
}

export function nothing(): Expected {
  return {
    text: '',
    reasoning: '',
    calls: [],
    finish: undefined,
    inputTotal: 0,
    outputTotal: 0,
    reasoningTokens: 0,
    cacheRead: 0,
    cacheWrite: 0,
    error: false,
  }
}

function compare(answer: GatheredAnswer, expected: Expected): void {
  if (expected.error) {
    assert.equal(answer.ended, false)
    assert.ok(answer.failure)
    return
  }
  assert.equal(answer.failure, undefined)
  assert.equal(answer.ended, true)
  assert.equal(answer.choices.length, 1)
  const [choice] = answer.choices
  assert.ok(choice)
  assert.equal(choice.text, expected.text)
  assert.equal(choice.reasoning, expected.reasoning)
  assert.equal(choice.finish, expected.finish)
  assert.equal(choice.calls.length, expected.calls.length)
  for (const [index, call] of choice.calls.entries()) {
    const wanted = expected.calls[index]
    assert.equal(call.name, wanted?.name)
    if (wanted?.id) assert.equal(call.id, wanted.id)
    else assert.match(call.id, /^call_\w+$/)
    assert.deepEqual(JSON.parse(call.arguments), JSON.parse(String(wanted?.arguments)))
    assert.equal(call.signature, wanted?.signature)
  }
  if (expected.signatures) assert.deepEqual(choice.signatures, expected.signatures)
  compareUsage(answer, expected)
}

function compareUsage(answer: GatheredAnswer, expected: Expected): void {
  const buckets = answer.usage?.buckets
  assert.ok(buckets)
  const { cacheRead, cacheWrite5m, cacheWrite1h, inputAudio, inputImage } = buckets
  const input = buckets.input + cacheRead + cacheWrite5m + cacheWrite1h + inputAudio + inputImage
  assert.equal(input, expected.inputTotal)
  assert.equal(cacheRead, expected.cacheRead)
  assert.equal(cacheWrite5m + cacheWrite1h, expected.cacheWrite)
  const output = buckets.output + buckets.reasoning + buckets.outputAudio + buckets.outputImage
  assert.equal(output, expected.outputTotal)
  assert.equal(buckets.reasoning, expected.reasoningTokens)
}

/** Whole, byte by byte (where short enough), and in a few sizes of pieces that meet no boundary on purpose. */
function waysToCut(length: number): readonly (readonly number[])[] {
  const steps = length < 20_000 ? [1, 7, 61, 1021] : [61, 1021]
  return [[], ...steps.map((step) => Array.from({ length: Math.floor(length / step) }, (_, at) => at * step))]
}

/** Decodes every answer, cut in many ways, and says by provider how many came out as the record has them. */
export function decodeAll(
  t: TestContext,
  exchanges: readonly RecordedExchange[],
  protocol: Protocol,
  expectedOf: (exchange: RecordedExchange) => Expected,
): void {
  const tally = new Map<string, { right: number; all: number }>()
  const wrong: string[] = []
  for (const exchange of exchanges) {
    const counted = tally.get(exchange.provider) ?? { right: 0, all: 0 }
    tally.set(exchange.provider, counted)
    counted.all += 1
    try {
      const expected = expectedOf(exchange)
      const whole = gather(decodeInPieces(protocol.decoder(DEFAULT_ANSWER_BOUNDS), exchange.body))
      compare(whole, expected)
      for (const cuts of waysToCut(exchange.body.length)) {
        const pieces = decodeInPieces(protocol.decoder(DEFAULT_ANSWER_BOUNDS), exchange.body, cuts)
        assert.deepEqual(gather(pieces), whole)
      }
      counted.right += 1
    } catch (error) {
      wrong.push(`${exchange.file}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  for (const [provider, { right, all }] of tally) t.diagnostic(`${provider}: decoded ${right} of ${all}`)
  assert.deepEqual(wrong, [])
  assert.ok(exchanges.length > 0)
}
