import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join, relative } from 'node:path'
import { type TestContext, test } from 'node:test'
import { steeringWords } from '@mesh/simulator/steering.ts'
import type { Database } from '../src/storage/database.ts'
import { CANARY_FORMS, CanarySearch, type Found, newCanary } from './support/canary-search.ts'
import { streamPayloads } from './support/chat-stream.ts'
import { newRouterHome, type RouterHome, type RouterProcess } from './support/router-process.ts'
import { until } from './support/until.ts'

/** A protocol family each. */
const MODELS = ['mesh/claude-sonnet-4.5', 'mesh/gpt-4.1'] as const
/** What a caller with a broken provider waits for here, and how large a body may be. */
const POLICY = { calls: { firstByteTimeoutMs: 500, idleTimeoutMs: 500, bodyBytesMax: 200_000 } }
/** Steering words that want a value. */
const VALUED: Readonly<Record<string, string>> = {
  pace: 'pace=2',
  tokens: 'tokens=20',
  hold: 'hold=1',
  lying_usage: 'lying_usage=huge',
}
const PAGE = 100

/** Every text that must be found nowhere, each under the name of the place that it was put into. */
class Canaries {
  readonly texts = new Map<string, string>()

  /** The canary of a place, always the same one. */
  of(place: string): string {
    const text = this.texts.get(place) ?? newCanary()
    this.texts.set(place, text)
    return text
  }

  /** A secret: what is random of it. */
  secret(place: string, text: string): void {
    this.texts.set(place, text.replace(/^mesh_(live|test|admin)_/, ''))
  }
}

interface Answer {
  readonly what: string
  readonly status: number
  readonly text: string
}

/** A conversation with a canary in everything that a caller can write. */
function conversation(canaries: Canaries, model: string, extras: object = {}): object {
  const image = Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), Buffer.from(canaries.of('image'))])
  const call = { id: canaries.of('tool call id'), type: 'function' }
  return {
    model,
    messages: [
      { role: 'system', content: canaries.of('system'), name: canaries.of('participant') },
      { role: 'user', content: `${canaries.of('prompt')} ${'word '.repeat(400)}` },
      {
        role: 'assistant',
        content: canaries.of('assistant'),
        tool_calls: [
          {
            ...call,
            function: { name: 'look', arguments: JSON.stringify({ at: canaries.of('arguments') }) },
          },
        ],
      },
      { role: 'tool', tool_call_id: call.id, content: canaries.of('tool result') },
      {
        role: 'user',
        content: [
          { type: 'text', text: `Say: ${canaries.of('reply')} and ${canaries.of('reply')} again.` },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${image.toString('base64')}` } },
        ],
      },
    ],
    tools: [
      {
        type: 'function',
        function: {
          name: 'look',
          description: canaries.of('tool description'),
          parameters: {
            type: 'object',
            properties: {
              at: { type: 'string', description: canaries.of('property description') },
              [canaries.of('property name')]: { type: 'string', enum: [canaries.of('reply arguments')] },
            },
            required: ['at', canaries.of('property name')],
          },
        },
      },
      { type: 'function', function: { name: canaries.of('tool name') } },
    ],
    response_format: {
      type: 'json_schema',
      json_schema: {
        name: canaries.of('schema name'),
        description: canaries.of('schema description'),
        schema: { type: 'object', properties: { [canaries.of('schema property')]: { type: 'string' } } },
      },
    },
    stop: [canaries.of('stop')],
    user: canaries.of('user'),
    safety_identifier: canaries.of('safety identifier'),
    session_id: canaries.of('session'),
    prompt_cache_key: canaries.of('cache key'),
    [canaries.of('unknown parameter')]: canaries.of('unknown value'),
    max_tokens: 200,
    ...extras,
  }
}

function metadataOf(canaries: Canaries, steering: string): object {
  const own = { [canaries.of('metadata name')]: canaries.of('metadata value') }
  return { metadata: { ...own, mesh_simulate: steering } }
}

/** A router, everything that is said to it and all that it answered with errors. */
class Caller {
  readonly canaries = new Canaries()
  readonly router: RouterProcess
  /** Errors, whole or as the last chunk of a stream, and the headers of every answer. */
  readonly errors: Answer[] = []

  constructor(router: RouterProcess, canaries: Canaries) {
    this.router = router
    this.canaries = canaries
  }

  get key(): string {
    return this.router.testKey ?? ''
  }

  async chat(body: object | string, headers: Readonly<Record<string, string>> = {}, signal?: AbortSignal) {
    const { canaries } = this
    const path = `/v1/chat/completions?trace=${canaries.of('query')}`
    return await fetch(`${this.router.url}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.key}`,
        'content-type': 'application/json',
        'x-request-id': canaries.of('request id'),
        'user-agent': canaries.of('user agent'),
        'openai-organization': canaries.of('organization'),
        ...headers,
      },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...(signal ? { signal } : {}),
    })
  }

  /** Makes a call to its end, keeps what is an error of the answer, and returns the whole of it. */
  async call(
    what: string,
    body: object | string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const response = await this.chat(body, headers)
    const { status } = response
    const told = JSON.stringify([...response.headers])
    if (!response.headers.get('content-type')?.startsWith('text/event-stream')) {
      const text = await response.text()
      this.errors.push({ what, status, text: status === 200 ? told : `${told}${text}` })
      return { what, status, text }
    }
    let text = ''
    let errors = ''
    for await (const payload of streamPayloads(response)) {
      text += payload
      if (payload.includes('"error"')) errors += JSON.stringify(JSON.parse(payload).error)
    }
    this.errors.push({ what, status, text: `${told}${errors}` })
    return { what, status, text }
  }

  /** Any other route, whose answer is kept whole where it is an error. */
  async ask(method: string, path: string, body?: unknown, key = this.key): Promise<Answer> {
    const answered = await this.router.request(method, path, { key, ...(body === undefined ? {} : { body }) })
    const answer = { what: `${method} ${path}`, status: answered.status, text: answered.text }
    if (answered.status >= 400)
      this.errors.push({ ...answer, text: JSON.stringify([...answered.headers]) + answered.text })
    return answer
  }
}

/** Answers that go well: the canaries go all the way to a provider and back. */
async function succeed(caller: Caller): Promise<void> {
  const { canaries } = caller
  for (const model of MODELS) {
    for (const stream of [false, true]) {
      const echoed = conversation(canaries, model, { stream, ...metadataOf(canaries, 'echo') })
      const answer = await caller.call(`${model} echo`, echoed)
      assert.equal(answer.status, 200, answer.text)
      assert.ok(new CanarySearch(canaries.texts).in(answer.text).some(({ name }) => name === 'reply'))
      const messages = [{ role: 'user', content: 'look' }]
      const calling = conversation(canaries, model, { stream, messages, response_format: undefined })
      const called = await caller.call(`${model} calls a tool`, calling)
      assert.match(called.text, /CNRY-/, 'the reply has a canary in the arguments of its tool call')
    }
  }
}

/** Every way in which a provider can fail or misbehave. */
async function failAtProviders(caller: Caller): Promise<void> {
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
async function leave(caller: Caller, database: Database): Promise<void> {
  const { canaries } = caller
  const leaving = new AbortController()
  const body = conversation(canaries, MODELS[0], { stream: true, ...metadataOf(canaries, 'echo,pace=300') })
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
async function beRefused(caller: Caller): Promise<void> {
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

async function repeat(caller: Caller): Promise<void> {
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
async function misuseOtherRoutes(caller: Caller): Promise<void> {
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
async function callNobody(caller: Caller): Promise<void> {
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
async function makeKeys(caller: Caller): Promise<void> {
  const { canaries } = caller
  const made = JSON.parse((await caller.ask('POST', '/v1/api-keys', { name: 'Made' })).text)
  canaries.secret('made key', made.secret)
  const rotated = JSON.parse((await caller.ask('POST', `/v1/api-keys/${made.id}/rotate`, {})).text)
  canaries.secret('rotated key', rotated.secret)
  canaries.secret('test key', caller.key)
  canaries.secret('admin key', caller.router.adminKey)
}

/** Every page of a list that the API shows. */
async function readList(caller: Caller, path: string, key = caller.key): Promise<string> {
  let text = ''
  let cursor = ''
  do {
    const answer = await caller.ask('GET', `${path}?limit=${PAGE}${cursor}`, undefined, key)
    assert.equal(answer.status, 200, answer.text)
    text += answer.text
    const next = JSON.parse(answer.text).next_cursor
    cursor = next === null ? '' : `&cursor=${next}`
  } while (cursor !== '')
  return text
}

/** Plants the control where each sink would show what leaked into it. */
async function plant(caller: Caller, database: Database, home: RouterHome, control: string): Promise<void> {
  const { router } = caller
  const { json: account } = await router.request('GET', '/v1/accounts/me', { key: caller.key })
  const grant = { amountUsd: '1', reason: control, livemode: false }
  const granted = await router.request('POST', `/v1/accounts/${account.id}/grants`, {
    key: router.adminKey,
    body: grant,
  })
  assert.equal(granted.status, 201)
  assert.equal((await caller.ask('POST', '/v1/projects', { name: control })).status, 201)
  await database.pool.query(
    `insert into events select (jsonb_populate_record(null::events, to_jsonb(e)
       || jsonb_build_object('id', overlay(e.id placing 'zzzz' from 27), 'model_served', $1::text))).*
     from events e order by e.id desc limit 1`,
    [control],
  )
  await database.pool.query(
    `update receipts set payload = convert_to(json_build_object('leak', $1::text)::text, 'UTF8')
     where id = (select max(id) from receipts where not livemode)`,
    [control],
  )
  writeFileSync(join(home.folder, 'planted'), control)
  const body = { model: MODELS[0], messages: [{ role: 'user', content: control }] }
  const answer = await caller.call('planted', { ...body, metadata: { mesh_simulate: 'echo' } })
  caller.errors.push(answer)
}

/** What lies in a folder, with every file that its links lead to. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    const entry = statSync(path, { throwIfNoEntry: false })
    if (entry?.isDirectory()) return filesBelow(path)
    return entry?.isFile() ? [path] : []
  })
}

/** Where a file's bytes count: PostgreSQL's tables and log apart from the rest. */
function sinkOf(path: string): string {
  if (path.includes('/pg_wal/')) return 'write-ahead log'
  return path.includes('/data/') ? 'tables' : 'other files'
}

/** The canaries in all files of a home, by sink. The admin key's own file may hold it. */
function searchFiles(home: RouterHome, search: CanarySearch): Map<string, Set<string>> {
  const sinks = new Map<string, Set<string>>()
  for (const path of filesBelow(home.folder)) {
    const sink = sinks.get(sinkOf(path)) ?? new Set<string>()
    sinks.set(sinkOf(path), sink)
    const own = relative(home.folder, path) === 'admin-key' ? 'admin key' : undefined
    for (const { name } of search.in(readFileSync(path))) {
      sink.add(name === own ? 'admin key in its own file' : name)
    }
  }
  return sinks
}

/** Every row of every table as text, and every statement that the server shows. */
async function allRows(database: Database): Promise<string> {
  const { rows: tables } = await database.pool.query<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname not in ('pg_catalog', 'information_schema')`,
  )
  let text = ''
  for (const { name } of tables) {
    const { rows } = await database.pool.query<{ line: string }>(`select t::text as line from ${name} t`)
    text += rows.map(({ line }) => line).join('\n')
  }
  const { rows } = await database.pool.query<{ query: string }>('select query from pg_stat_activity')
  return text + rows.map(({ query }) => query).join('\n')
}

function namesOf(found: readonly Found[]): string[] {
  return [...new Set(found.map(({ name }) => name))].sort()
}

test('the search finds every form of a text, and any part of it', () => {
  const text = newCanary()
  const search = new CanarySearch(new Map([['a text', text]]))
  for (const [form, write] of Object.entries(CANARY_FORMS)) {
    const hidden = Buffer.concat([Buffer.from('…before'), write(text.slice(9, 23)), Buffer.from('after')])
    assert.deepEqual(search.in(hidden), [{ name: 'a text', form }])
  }
  for (const before of ['', 'a', 'ab', 'abc']) {
    const base64 = Buffer.from(`${before}${text} after`).toString('base64')
    assert.deepEqual(namesOf(search.in(base64)), ['a text'])
  }
  assert.deepEqual(search.in(text.slice(0, 11) + text.slice(12)), [], 'less than a part is none')
})

test('nothing that a caller writes or gets is kept, logged or shown', async (t: TestContext) => {
  const home = await newRouterHome(t)
  const canaries = new Canaries()
  const control = canaries.of('control')
  const policy = join(home.scratch, 'policy.json')
  writeFileSync(policy, JSON.stringify(POLICY))
  const router = await home.start({
    MESH_LOG_LEVEL: 'debug',
    MESH_SETTINGS: policy,
    OPENAI_API_KEY: canaries.of('credential'),
    MESH_OPENAI_BASE_URL: 'http://127.0.0.1:9',
    // The warning about it is the control of the log.
    [`MESH_${control}`]: '1',
  })
  const database = await home.openDatabase()
  const caller = new Caller(router, canaries)

  await makeKeys(caller)
  await succeed(caller)
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
  await plant(caller, database, home, control)

  const search = new CanarySearch(canaries.texts)
  const onlyControl = (what: string, found: Iterable<string>): void => {
    assert.deepEqual([...new Set(found)].sort(), ['control'], what)
  }
  for (const moment of ['before a checkpoint', 'after a checkpoint', 'after the end']) {
    if (moment === 'after a checkpoint') await database.pool.query('checkpoint')
    if (moment === 'after the end') {
      await database.close()
      assert.equal((await router.kill('SIGTERM')).code, 0)
    }
    const sinks = searchFiles(home, search)
    onlyControl(`write-ahead log ${moment}`, sinks.get('write-ahead log') ?? [])
    assert.deepEqual(
      [...(sinks.get('other files') ?? [])].sort(),
      ['admin key in its own file', 'control'],
      `other files ${moment}`,
    )
    const inTables = [...(sinks.get('tables') ?? [])]
    if (moment !== 'before a checkpoint') onlyControl(`tables ${moment}`, inTables)
    else
      assert.deepEqual(
        inTables.filter((name) => name !== 'control'),
        [],
        `tables ${moment}`,
      )
    if (moment === 'after a checkpoint') await searchAnswers(caller, database, search, onlyControl)
  }
  onlyControl('standard error', namesOf(search.in(router.said.stderr)))
  assert.deepEqual(namesOf(search.in(router.said.stdout)), ['test key'], 'standard output')
})

/** What the database and the API say, and what callers were told of their errors. */
async function searchAnswers(
  caller: Caller,
  database: Database,
  search: CanarySearch,
  onlyControl: (what: string, found: Iterable<string>) => void,
): Promise<void> {
  onlyControl('rows', namesOf(search.in(await allRows(database))))
  for (const path of ['/v1/logs', '/v1/ledger', '/v1/receipts', '/v1/audit', '/v1/projects']) {
    onlyControl(path, namesOf(search.in(await readList(caller, path))))
  }
  const { adminKey } = caller.router
  onlyControl('/v1/audit of operators', namesOf(search.in(await readList(caller, '/v1/audit', adminKey))))
  const csv = await caller.router.request('GET', `/v1/ledger?limit=${PAGE}`, {
    key: caller.key,
    headers: { accept: 'text/csv' },
  })
  onlyControl('the ledger as CSV', namesOf(search.in(csv.text)))
  const usage = await caller.ask('GET', '/v1/usage?groupBy=day,model,provider,project,key')
  onlyControl('/v1/usage', namesOf(search.in(usage.text)))
  for (const path of ['/v1/api-keys', '/v1/accounts/me', '/v1/key', '/v1/credits']) {
    assert.deepEqual(namesOf(search.in((await caller.ask('GET', path)).text)), [], path)
  }
  onlyControl('errors', namesOf(caller.errors.flatMap(({ text }) => search.in(text))))
}
