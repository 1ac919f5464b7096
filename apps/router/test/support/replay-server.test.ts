import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  conversationDigest,
  noTranscripts,
  type RecordedExchange,
  recordedExchanges,
  startReplayServer,
} from './replay-server.ts'

const made: RecordedExchange = {
  name: 'openai/made_up',
  path: '/v1/chat/completions',
  requestBody: { model: 'gpt-4o', stream: true, messages: [{ role: 'user', content: 'How are you?' }] },
  status: 200,
  headers: { 'content-type': 'text/event-stream' },
  responseBytes: Buffer.from('data: {"text":"façade ✓"}\n\ndata: [DONE]\n\n'),
}

function post(url: string, body: object) {
  return fetch(`${url}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-test': 'yes' },
    body: JSON.stringify(body),
  })
}

test('answers the same conversation with the recorded bytes, in pieces, and keeps what it was sent', async (t) => {
  const replay = await startReplayServer({ exchanges: [made], chunkBytes: 3 })
  t.after(() => replay.close())
  const answer = await post(replay.baseUrl('openai'), {
    ...made.requestBody,
    model: 'gpt-4o-mini',
    temperature: 0,
  })
  assert.equal(answer.status, 200)
  assert.deepEqual(Buffer.from(await answer.arrayBuffer()), made.responseBytes)
  const [received] = replay.received
  assert.equal(received?.answeredBy, made.name)
  assert.equal(received?.json.model, 'gpt-4o-mini')
  assert.equal(received?.headers['x-test'], 'yes')
})

test('another conversation is answered 404, unless the test names the exchange', async (t) => {
  const replay = await startReplayServer({ exchanges: [made] })
  t.after(() => replay.close())
  const other = { stream: true, messages: [{ role: 'user', content: 'Something else' }] }
  assert.equal((await post(replay.baseUrl('openai'), other)).status, 404)
  replay.answerNextWith(made.name)
  assert.equal((await post(replay.baseUrl('openai'), other)).status, 200)
  assert.equal((await post(replay.baseUrl('openai'), other)).status, 404)
  assert.throws(() => replay.answerNextWith('openai/unknown'))
})

test('a conversation is the same in both vendors’ shapes', () => {
  const openai = {
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Weather?' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ function: { name: 'look', arguments: '{"city": "Rome"}' } }],
      },
      { role: 'tool', tool_call_id: '1', content: 'sunny' },
    ],
  }
  const anthropic = {
    system: [{ type: 'text', text: 'Be brief.' }],
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'Weather?' }] },
      { role: 'assistant', content: [{ type: 'tool_use', id: '1', name: 'look', input: { city: 'Rome' } }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: '1', content: 'sunny' }] },
    ],
  }
  assert.equal(conversationDigest(openai), conversationDigest(anthropic))
})

test('every recorded exchange of both vendors is found by its own request', async (t) => {
  for (const provider of ['openai', 'anthropic'] as const) {
    const exchanges = recordedExchanges(provider)
    if (exchanges === undefined) return t.skip(noTranscripts)
    const replay = await startReplayServer({ exchanges, chunkBytes: 4096 })
    for (const exchange of exchanges) {
      const origin = replay.baseUrl('anthropic')
      const body = JSON.stringify(exchange.requestBody)
      const answer = await fetch(`${origin}${exchange.path}`, { method: 'POST', body })
      const bytes = Buffer.from(await answer.arrayBuffer())
      const answeredBy: RecordedExchange | undefined = exchanges.find(
        (candidate) => candidate.name === replay.received.at(-1)?.answeredBy,
      )
      assert.equal(answeredBy?.path, exchange.path)
      assert.deepEqual(bytes, answeredBy?.responseBytes)
    }
    await replay.close()
  }
})
