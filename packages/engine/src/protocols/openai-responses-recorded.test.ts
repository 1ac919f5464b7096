import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ABSENT, decodeAll, type Expected, nothing } from '../../test/recorded-answers.ts'
import { type RecordedExchange, recordedExchanges } from '../../test/recorded-exchanges.ts'
import { asIfSent, askOfRecord, outOfReach } from '../../test/recorded-responses-requests.ts'
import { openaiResponses } from './openai-responses.ts'

/*
 * What real providers were asked and answered in Responses. The expectation is put together here from the record
 * itself, with none of the code under test.
 */

interface RecordedResponse {
  status: string
  error: object | null
  incomplete_details: { reason: string } | null
  output: RecordedItem[]
  usage: {
    input_tokens: number
    output_tokens: number
    input_tokens_details: { cached_tokens: number; cache_write_tokens?: number }
    output_tokens_details: { reasoning_tokens: number }
  }
}

interface RecordedItem {
  type: string
  call_id: string
  name: string
  arguments: string
  content?: { type: string; text?: string; refusal?: string }[]
  summary?: { text: string }[]
}

/** The response itself, or the one that a stream's last event holds. */
function responseOf({ body }: RecordedExchange): RecordedResponse {
  if (body.startsWith('{')) return JSON.parse(body)
  const events = body
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)))
  return events.at(-1).response
}

function expectedOfResponse(exchange: RecordedExchange): Expected {
  const { output, usage, incomplete_details, error } = responseOf(exchange)
  const expected = nothing()
  expected.error = error !== null && error !== undefined
  for (const item of output) {
    if (item.type === 'message') {
      for (const part of item.content ?? []) if (part.type === 'output_text') expected.text += part.text ?? ''
    }
    if (item.type === 'reasoning') {
      for (const part of [...(item.summary ?? []), ...(item.content ?? [])])
        expected.reasoning += part.text ?? ''
    }
    if (item.type === 'function_call') {
      expected.calls.push({ id: item.call_id, name: item.name, arguments: item.arguments })
    }
  }
  const whole = expected.calls.length > 0 ? 'tool_calls' : 'stop'
  const cut = incomplete_details?.reason === 'content_filter' ? 'content_filter' : 'length'
  expected.finish = incomplete_details ? cut : whole
  expected.inputTotal = usage.input_tokens
  expected.outputTotal = usage.output_tokens
  expected.reasoningTokens = usage.output_tokens_details.reasoning_tokens
  expected.cacheRead = usage.input_tokens_details.cached_tokens
  expected.cacheWrite = usage.input_tokens_details.cache_write_tokens ?? 0
  return expected
}

/** An answer of a call that goes on in the background is none yet. */
const isQueued = (exchange: RecordedExchange) => /^\{.*"status":"queued"/.test(exchange.body)

test('every recorded response decodes to what the record holds', (t) => {
  const exchanges = recordedExchanges('/responses')
  if (!exchanges) return t.skip(ABSENT)
  const answers = exchanges.filter(({ status }) => status < 300)
  const queued = answers.filter(isQueued)
  t.diagnostic(`not covered: ${queued.length} that were queued in the background and are no answers`)
  decodeAll(
    t,
    answers.filter((exchange) => !isQueued(exchange)),
    openaiResponses,
    expectedOfResponse,
  )
})

test('every recorded refusal of a response is put into its class', (t) => {
  const exchanges = recordedExchanges('/responses')
  if (!exchanges) return t.skip(ABSENT)
  for (const { status, headers, body } of exchanges.filter(({ status }) => status >= 300)) {
    assert.equal(openaiResponses.classify(status, headers, body).outcome, 'request_fault')
  }
})

test('every recorded request within reach is encoded as the provider was sent it', (t) => {
  const exchanges = recordedExchanges('/responses')
  if (!exchanges) return t.skip(ABSENT)
  const reasons = new Map<string, number>()
  const tally = new Map<string, { right: number; all: number }>()
  const wrong: string[] = []
  for (const exchange of exchanges) {
    const counted = tally.get(exchange.provider) ?? { right: 0, all: 0 }
    tally.set(exchange.provider, counted)
    counted.all += 1
    const reason = outOfReach(exchange.requestBody)
    if (reason !== undefined) {
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
      continue
    }
    try {
      const { ask, endpoint } = askOfRecord(exchange)
      const { body, path, droppedParameters } = openaiResponses.encode(ask, endpoint, { stream: ask.stream })
      assert.equal(path, '/responses')
      assert.deepEqual(droppedParameters, [])
      assert.deepEqual(asIfSent(JSON.parse(body)), asIfSent(exchange.requestBody))
      counted.right += 1
    } catch (error) {
      wrong.push(`${exchange.file}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  for (const [provider, { right, all }] of tally) t.diagnostic(`${provider}: re-encoded ${right} of ${all}`)
  for (const [reason, count] of reasons) t.diagnostic(`not covered: ${count} with ${reason}`)
  assert.deepEqual(wrong, [])
})
