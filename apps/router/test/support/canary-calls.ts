import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { steeringWords } from '@mesh/simulator/steering.ts'
import type { Database } from '../../src/storage/database.ts'
import { type CanaryCaller, conversation, messagesOf, metadataOf, responsesOf } from './canary-caller.ts'
import { CanarySearch } from './canary-search.ts'
import { streamPayloads } from './chat-stream.ts'
import { until } from './until.ts'

/** A protocol family each. */
const MODELS = ['mesh/claude-sonnet-4.5', 'mesh/gpt-4.1'] as const
/** What a caller with a broken provider waits for here, and how large a body may be. */
export const POLICY = {
  calls: { firstByteTimeoutMs: 500, idleTimeoutMs: 500, deadlineMs: 4_000, bodyBytesMax: 200_000 },
}
/** Steering words that want a value. */
const VALUED: Readonly<Record<string, string>> = {
  pace: 'pace=2',
  tokens: 'tokens=20',
  hold: 'hold=1',
  lying_usage: 'lying_usage=huge',
}

/** Puts canaries into every kind of request, and gets every kind of answer. Nothing runs when it resolves. */
export async function callInEveryWay(caller: CanaryCaller, database: Database): Promise<void> {
  await makeKeys(caller)
  await succeed(caller)
  await makeVectorsAndScores(caller)
  await callInMessages(caller)
  await countTokens(caller)
  await callInResponses(caller)
  await failAtProviders(caller)
  await leave(caller, database)
  await beRefused(caller)
  await repeat(caller)
  await misuseOtherRoutes(caller)
  await callNobody(caller)
  await until('every call has ended', async () => {
    const { rows } = await database.pool.query('select from holds')
    return rows.length === 0
  })
}

/** Answers that go well: the canaries go all the way to a provider and back. */
async function succeed(caller: CanaryCaller): Promise<void> {
  const { canaries } = caller
  for (const model of MODELS) {
    for (const stream of [false, true]) {
      const echoed = conversation(canaries, model, { stream, ...metadataOf(canaries, 'echo') })
      const answer = await caller.call(`${model} echo`, echoed)
      assert.equal(answer.status, 200, answer.text)
      assert.ok(
        new CanarySearch(canaries.texts).in(answer.text).some(({ name }) => name === 'reply'),
        answer.text,
      )
      const messages = [{ role: 'user', content: 'look' }]
      const calling = conversation(canaries, model, { stream, messages, response_format: undefined })
      const called = await caller.call(`${model} calls a tool`, calling)
      assert.match(called.text, /CNRY-/, 'the reply has a canary in the arguments of its tool call')
    }
  }
}

/** Texts that become vectors and scores, and texts of which nothing can be made. */
async function makeVectorsAndScores(caller: CanaryCaller): Promise<void> {
  const { canaries } = caller
  const text = canaries.of('text')
  const bad = canaries.of('bad value')
  const vectors = { model: 'mesh/text-embedding-3-small', input: [text, text], user: canaries.of('user') }
  const scores = {
    model: 'mesh/qwen3-reranker-0.6b',
    query: canaries.of('query'),
    documents: [text, { text, [canaries.of('document member')]: bad }],
    return_documents: true,
  }
  for (const [path, body] of [
    ['/v1/embeddings', vectors],
    ['/v1/rerank', scores],
  ] as const) {
    assert.equal((await caller.ask('POST', path, body)).status, 200)
    for (const steering of ['malformed', 'error_first', 'rate_limit', 'html']) {
      const failed = await caller.ask('POST', path, { ...body, ...metadataOf(canaries, steering) })
      assert.ok(failed.status >= 500, failed.text)
    }
    for (const extras of [
      { [bad]: bad, input: { [bad]: bad }, query: [bad] },
      { model: bad },
      { provider: { only: [bad] } },
    ]) {
      const refused = await caller.ask('POST', path, { ...body, ...extras })
      assert.ok(refused.status >= 400 && refused.status < 500, refused.text)
    }
  }
}

/** OpenAI's Responses: answers that go well, that break off, and that are refused. */
async function callInResponses(caller: CanaryCaller): Promise<void> {
  const { canaries } = caller
  const path = '/v1/responses'
  for (const model of MODELS) {
    for (const stream of [false, true]) {
      const answer = await caller.call('responses', responsesOf(canaries, model, { stream }), {}, path)
      assert.equal(answer.status, 200, answer.text)
      assert.match(answer.text, /CNRY-/, 'the reply has a canary')
    }
    const cut = { stream: true, ...metadataOf(canaries, 'echo,cut_stream=4') }
    await caller.call('responses cut', responsesOf(canaries, model, cut), {}, path)
  }
  const bad = canaries.of('bad responses value')
  for (const extras of [
    { input: [{ role: bad, content: bad }] },
    { input: [{ type: bad, id: bad }] },
    { input: [{ role: 'user', content: [{ type: 'input_image', file_id: bad }] }] },
    { previous_response_id: bad },
    { conversation: bad },
    { prompt: { id: bad } },
    { tools: [{ type: bad, server_url: bad }] },
    { tools: [{ type: 'function', name: `${bad} with spaces` }] },
    { tool_choice: { type: 'function', name: bad } },
    { text: { format: { type: bad } } },
    { reasoning: { effort: bad } },
    { model: bad },
  ]) {
    const body = responsesOf(canaries, MODELS[0], extras)
    const { status, text } = await caller.call('responses refused', body, {}, path)
    assert.ok(status >= 400, text)
  }
}

/** Anthropic's shape: answers that go well, that break off and that are refused, and tokens that are only counted. */
async function callInMessages(caller: CanaryCaller): Promise<void> {
  const { canaries } = caller
  const path = '/v1/messages'
  for (const model of MODELS) {
    for (const stream of [false, true]) {
      const answer = await caller.call('messages', messagesOf(canaries, model, { stream }), {}, path)
      assert.equal(answer.status, 200, answer.text)
      assert.match(answer.text, /CNRY-/, 'the reply has a canary')
    }
    const cut = { stream: true, metadata: { mesh_simulate: 'echo,cut_stream=4' } }
    await caller.call('messages cut', messagesOf(canaries, model, cut), {}, path)
  }
  const bad = canaries.of('bad messages value')
  for (const extras of [
    { messages: [{ role: bad, content: bad }] },
    { messages: [{ role: 'user', content: [{ type: bad, text: bad }] }] },
    { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'file', file_id: bad } }] }] },
    { tools: [{ type: bad, name: bad }] },
    { tools: [{ name: `${bad} with spaces`, input_schema: {} }] },
    { tool_choice: { type: 'tool', name: bad } },
    { thinking: { type: bad } },
    { metadata: { [bad]: { [bad]: bad } } },
    { container: bad },
    { model: bad },
  ]) {
    const { status, text } = await caller.call(
      'messages refused',
      messagesOf(canaries, MODELS[0], extras),
      {},
      path,
    )
    assert.ok(status >= 400, text)
    assert.equal(JSON.parse(text).type, 'error', text)
  }
  const counted = await caller.call('tokens', messagesOf(canaries, MODELS[0]), {}, `${path}/count_tokens`)
  assert.equal(counted.status, 200, counted.text)
}

/** Texts that are only counted, in a thread of its own. */
async function countTokens(caller: CanaryCaller): Promise<void> {
  const { canaries } = caller
  const model = 'mesh/gpt-5-mini'
  const count = (body: object) => caller.ask('POST', '/v1/tokens/count', body)
  assert.equal(
    (await count({ model, input: [canaries.of('text'), canaries.of('counted text')] })).status,
    200,
  )
  assert.equal((await count(conversation(canaries, model))).status, 200)
  const bad = canaries.of('bad value')
  for (const extras of [
    { input: { [bad]: bad } },
    { messages: [{ role: bad }] },
    { input: bad, model: bad },
  ]) {
    const refused = await count({ model, ...extras })
    assert.ok(refused.status >= 400 && refused.status < 500, refused.text)
  }
}

/** Every way in which a provider can fail or misbehave. */
async function failAtProviders(caller: CanaryCaller): Promise<void> {
  const { canaries } = caller
  const calls = steeringWords.flatMap((word) =>
    MODELS.flatMap((model) =>
      [false, true].map(async (stream) => {
        const steering = metadataOf(canaries, `echo,${VALUED[word] ?? word}`)
        const { status, text } = await caller.call(
          word,
          conversation(canaries, model, { stream, ...steering }),
        )
        assert.ok([200, 400, 502, 503, 504].includes(status), `${word}: ${status} ${text}`)
      }),
    ),
  )
  await Promise.all(calls)
  const words = new Set(caller.errors.filter(({ text }) => text.includes('"code"')).map(({ what }) => what))
  for (const word of ['rate_limit', 'timeout', 'cut_stream', 'stall', 'malformed', 'html', 'error_first']) {
    assert.ok(words.has(word), `${word} ended in an error`)
  }
}

/** A caller who leaves in the middle of an answer. */
async function leave(caller: CanaryCaller, database: Database): Promise<void> {
  const { canaries } = caller
  const leaving = new AbortController()
  const body = conversation(canaries, MODELS[0], {
    stream: true,
    // JSON of a schema that is asked for in words comes at once, when all of it has been looked at.
    response_format: { type: 'text' },
    ...metadataOf(canaries, 'echo,pace=300'),
  })
  const response = await caller.chat(body, {}, leaving.signal)
  await streamPayloads(response).next()
  leaving.abort()
  await until('the call that was left is settled', async () => {
    const { rows } = await database.pool.query(
      `select from events where billing_reason = 'client_disconnected'`,
    )
    return rows.length > 0
  })
}

/** Requests that are refused, each for what is in it. */
async function beRefused(caller: CanaryCaller): Promise<void> {
  const { canaries } = caller
  const [model] = MODELS
  const refused = async (code: string, body: object | string, headers?: Readonly<Record<string, string>>) => {
    const { status, text } = await caller.call(code, body, headers)
    assert.ok(status >= 400, text)
    assert.equal(JSON.parse(text).error.code, code, text)
  }
  const bad = canaries.of('bad value')
  await refused('invalid_request', `{"model": "${canaries.of('broken JSON')}`)
  await refused('payload_too_large', JSON.stringify(conversation(canaries, model)) + ' '.repeat(200_000))
  await refused('unsupported_media_type', canaries.of('text body'), {
    'content-type': `text/${canaries.of('media type')}`,
  })
  await refused('model_not_found', conversation(canaries, canaries.of('model')))
  await refused('model_not_found', conversation(canaries, model, { models: [canaries.of('fallback model')] }))
  await refused(
    'no_endpoint',
    conversation(canaries, model, { provider: { only: [canaries.of('provider')] } }),
  )
  await refused('unsupported_parameter', conversation(canaries, model, { previous_response_id: bad }))
  await refused('invalid_api_key', conversation(canaries, model), {
    authorization: `Bearer ${canaries.of('foreign key')}`,
  })
  await refused('invalid_request', conversation(canaries, model), {
    'idempotency-key': `${canaries.of('spaced key')} with spaces`,
  })
  for (const extras of [
    { temperature: bad },
    { messages: [{ role: bad, content: bad }] },
    { messages: [{ role: 'user', content: [{ type: bad, text: bad }] }] },
    { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: bad } }] }] },
    { tools: [{ type: 'function', function: { name: `${bad} with spaces` } }] },
    { tool_choice: { type: 'function', function: { name: bad } } },
    { response_format: { type: bad } },
    { metadata: { [bad]: { [bad]: bad } } },
    { privacy: { [bad]: bad } },
    { reasoning: { effort: bad } },
    { logit_bias: { [bad]: 1 } },
    { stop: [bad, bad, bad, bad, bad] },
  ]) {
    await refused('invalid_request', conversation(canaries, model, extras))
  }
  await refused(
    'invalid_request',
    conversation(canaries, model, metadataOf(canaries, canaries.of('steering'))),
  )
}

async function repeat(caller: CanaryCaller): Promise<void> {
  const { canaries } = caller
  const headers = { 'idempotency-key': canaries.of('idempotency key') }
  const body = conversation(canaries, MODELS[0], metadataOf(canaries, 'echo'))
  const first = await caller.call('first', body, headers)
  assert.equal(first.status, 200, first.text)
  const replay = await caller.call('replay', body, headers)
  assert.equal(JSON.parse(replay.text).error.code, 'idempotency_replay')
  const conflict = await caller.call('conflict', { ...body, seed: 1 }, headers)
  assert.equal(JSON.parse(conflict.text).error.code, 'idempotency_conflict')
}

/** Other routes with what they do not take, and requests that are none. */
async function misuseOtherRoutes(caller: CanaryCaller): Promise<void> {
  const { canaries, router } = caller
  const path = canaries.of('path')
  const bad = canaries.of('bad value')
  for (const [method, route, body] of [
    ['GET', `/v1/${path}`],
    ['GET', `/v1/logs/${path}`],
    ['GET', `/v1/receipts/${path}?format=${bad}`],
    ['GET', `/v1/logs?cursor=${bad}`],
    ['GET', `/v1/ledger?${path}=${bad}`],
    ['GET', `/v1/usage?groupBy=${bad}`],
    ['GET', `/v1/models/${path}`],
    ['GET', `/%zz${path}`],
    ['POST', '/v1/api-keys', { name: 'A key', [path]: bad }],
    ['POST', '/v1/api-keys', { name: 'A key', scopes: [bad], limits: { allowedModels: [bad] } }],
    ['POST', '/v1/projects', `{"name": "${bad}`],
    ['PATCH', `/v1/projects/${path}`, { name: 'A project' }],
  ] as const) {
    const { status, text } = await caller.ask(method, route, body)
    assert.ok(status >= 400 && status < 500, `${method} ${route}: ${status} ${text}`)
  }
  const { port } = new URL(router.url)
  for (const request of [
    `GET /${path} HTTP/1.1\r\n${bad}\r\n\r\n`,
    `GET / HTTP/1.1\r\nhost: mesh\r\nx-much: ${bad.repeat(1_000)}\r\n\r\n`,
  ]) {
    const socket = connect(Number(port), '127.0.0.1')
    const closed = once(socket, 'close')
    let text = ''
    socket.setEncoding('utf8').on('data', (part) => {
      text += part
    })
    socket.end(request)
    await closed
    assert.match(text, /^HTTP\/1\.1 4\d\d /)
    caller.errors.push({ what: 'no request', status: 400, text })
  }
}

/** A live call with a credential of the operator's, to a host that is not there. */
async function callNobody(caller: CanaryCaller): Promise<void> {
  const { canaries, router } = caller
  const { json: account } = await router.request('GET', '/v1/accounts/me', { key: caller.key })
  const operator = (path: string, body: object) =>
    router.request('POST', path, { key: router.adminKey, body })
  await operator(`/v1/accounts/${account.id}/grants`, { amountUsd: '5', reason: 'Live', livemode: true })
  const { json: made } = await operator('/v1/api-keys', {
    name: 'Live',
    accountId: account.id,
    livemode: true,
  })
  canaries.secret('live key', made.secret)
  const headers = { authorization: `Bearer ${made.secret}` }
  const answer = await caller.call('nobody', conversation(canaries, MODELS[1]), headers)
  assert.equal(JSON.parse(answer.text).error.code, 'provider_error', answer.text)
}

/** Keys that are made and rotated: their secrets are shown once. */
async function makeKeys(caller: CanaryCaller): Promise<void> {
  const { canaries } = caller
  const made = JSON.parse((await caller.ask('POST', '/v1/api-keys', { name: 'Made' })).text)
  canaries.secret('made key', made.secret)
  const rotated = JSON.parse((await caller.ask('POST', `/v1/api-keys/${made.id}/rotate`, {})).text)
  canaries.secret('rotated key', rotated.secret)
  canaries.secret('test key', caller.key)
  canaries.secret('admin key', caller.router.adminKey)
}
