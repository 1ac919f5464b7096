import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { ERRORS } from '../src/errors.ts'
import {
  CANARY,
  encodingCases,
  framingCases,
  type HostileCase,
  head,
  shapeCases,
  type Target,
} from './support/hostile-cases.ts'
import { countCases, embeddingCases, rerankCases } from './support/hostile-tasks.ts'
import {
  callTextCases,
  lineCases,
  mediaCases,
  messageMediaCases,
  nameCases,
  numberCases,
  responseMediaCases,
} from './support/hostile-values.ts'
import { startHttpFixture } from './support/http-fixture.ts'
import { newRouterHome, type RouterProcess } from './support/router-process.ts'
import { createTestDatabase } from './support/test-database.ts'
import { until } from './support/until.ts'
import { answersIn, exchange, openWire } from './support/wire.ts'

/**
 * Everything that can be sent to hurt, over sockets, to a router in a process of its own: each gets the error that the
 * table of errors has for it, the router serves on, its log stays whole, and its memory comes back.
 */

const BODY_BYTES_MAX = 16 * 1024 * 1024
/** `DEFAULT_HTTP_BOUNDS` for every route but calls. */
const MANAGEMENT_BODY_BYTES_MAX = 1_048_576
/** Long enough for megabytes on a machine that is busy. */
const BODY_TIMEOUT_MS = 6_000
const HEADERS_TIMEOUT_MS = 2_000
const CONNECTIONS = 8
/** How much more memory may be in use after a round than after the round before. */
const GROWTH_MAX = 0.05
/** Less than this between two measurements is no change. */
const STEADY = 0.005
/** So many measurements one after the other without a change. */
const STEADY_MEASUREMENTS = 5

interface Stage {
  readonly router: RouterProcess
  readonly accountId: string
  readonly call: Target
  /** The same in Anthropic's shape. */
  readonly message: Target
  /** The same in the shape of OpenAI's Responses. */
  readonly response: Target
  readonly keys: Target
  readonly embeddings: Target
  readonly rerank: Target
  readonly counts: Target
  /** What is in use once everything that nobody needs is collected. */
  usedBytes(): Promise<number>
}

test('hostile input', async (t) => {
  const stage = await setTheStage(t)
  const { router, call, message, response, keys } = stage

  // They wait for most of their time, so the others need not wait for them.
  const slow = runAll(slowCases(stage), router.url)
  slow.catch(() => undefined)
  const cases = [call, keys].flatMap((target) => [
    ...framingCases(target),
    ...encodingCases(target),
    ...shapeCases(target),
    ...numberCases(target),
  ])
  const others = [
    ...encodingCases(message),
    ...shapeCases(message).filter(isSmall),
    ...messageMediaCases(message),
    ...encodingCases(response),
    ...shapeCases(response).filter(isSmall),
    ...responseMediaCases(response),
    ...callTextCases(call),
    ...mediaCases(call),
    ...nameCases(keys),
    ...lineCases(keys),
    ...embeddingCases(stage.embeddings),
    ...rerankCases(stage.rerank),
  ]
  await t.test('each is answered with its error, which says what to do and repeats nothing', async (t) => {
    await runAll([...cases, ...others], router.url, t)
  })

  await t.test('texts that tokenizers take for ever are counted, one after the other', async (t) => {
    for (const each of countCases(stage.counts)) await runAll([each], router.url, t)
  })

  await t.test('who sends slowly, or half, or nothing, is cut off at the time-out of that name', () => slow)

  await t.test('no answer is taken for that to another request', () => oneAnswerEach(stage))

  await t.test('a target that is a whole URL is answered as its path is', async () => {
    const headersOf = async (url: string) => {
      const received = await exchange(router.url, [head(keys, [], `GET ${url} HTTP/1.1`)])
      const [answer] = answersIn(received)
      return answer?.head.replace(/\r\n(?:x-request-id|date): .*/gi, '')
    }
    const expected = await headersOf('/v1/credits')
    assert.match(expected ?? '', /\r\ncache-control: no-store/)
    assert.equal(await headersOf('http://example.com/v1/credits'), expected)
  })

  await t.test('afterwards the router serves as before', async () => {
    for (const target of [call, keys, stage.embeddings, stage.rerank, stage.counts]) {
      const answer = await router.request('POST', target.path, { key: target.key, body: target.good })
      assert.equal(answer.status, target.okStatus, answer.text)
    }
  })

  await t.test('memory comes back', async (t) => {
    // The first rounds compile code and fill what is kept for good.
    await runAll([...cases, ...others], router.url)
    const before = await settledBytes(stage)
    await runAll([...cases, ...others], router.url)
    // The body of a request waits for its socket's end, so what is in use comes back within moments, or never.
    let now = Number.POSITIVE_INFINITY
    const hasComeBack = async (): Promise<boolean> => {
      now = Math.min(now, await stage.usedBytes())
      return now <= before * (1 + GROWTH_MAX)
    }
    await until('memory comes back', hasComeBack).finally(() => {
      const round = `a round of ${cases.length + others.length}`
      t.diagnostic(`${megabytes(before)} in use before ${round}, ${megabytes(now)} after it`)
    })
  })

  await t.test('no reason that somebody gave is a formula in a spreadsheet', () => noFormulas(stage))

  await t.test('every line of the log is one line of known fields, and repeats nothing', async () => {
    const source = await readFile(join(import.meta.dirname, '../src/log.ts'), 'utf8')
    const fields = [...source.matchAll(/^ {2}readonly (\w+)\?:/gm)].map(([, name]) => name ?? '')
    assert.ok(fields.includes('requestId'))
    const lines = router.said.stderr.trimEnd().split('\n')
    for (const line of lines) {
      assert.ok(!line.includes(CANARY), line)
      const read: Record<string, unknown> = JSON.parse(line)
      const unknown = Object.keys(read).filter((name) => !['level', 'time', 'msg', ...fields].includes(name))
      assert.deepEqual(unknown, [], line)
      assert.ok(Number(read.level) < 50, `an error of its own: ${line}`)
    }
  })
})

/** What is in use once it falls no more: what waits for a timer, or for a socket's end, goes within moments. */
async function settledBytes({ usedBytes }: Stage): Promise<number> {
  let least = await usedBytes()
  let steady = 0
  await until('the memory in use falls no more', async () => {
    const now = await usedBytes()
    steady = now < least * (1 - STEADY) ? 0 : steady + 1
    least = Math.min(least, now)
    return steady === STEADY_MEASUREMENTS
  })
  return least
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MB`
}

async function setTheStage(t: TestContext): Promise<Stage> {
  const database = await createTestDatabase()
  t.after(() => database.close())
  const home = await newRouterHome(t, database)
  const policyFile = join(home.scratch, 'policy.json')
  const policy = {
    calls: { bodyBytesMax: BODY_BYTES_MAX, bodyTimeoutMs: BODY_TIMEOUT_MS },
    http: { headersTimeoutMs: HEADERS_TIMEOUT_MS },
  }
  await writeFile(policyFile, JSON.stringify(policy))
  const probeFile = join(home.scratch, 'heap.json')
  const probe = pathToFileURL(join(import.meta.dirname, 'support/heap-probe.ts')).href
  const router = await home.start({
    MESH_SETTINGS: policyFile,
    MESH_LOG_LEVEL: 'debug',
    NODE_OPTIONS: `--expose-gc --import=${probe}`,
    HEAP_PROBE_FILE: probeFile,
  })
  const ask = async (path: string, body: object) => {
    const answer = await router.request('POST', path, { key: router.adminKey, body })
    assert.equal(answer.status, 201, answer.text)
    return answer.json
  }
  const account = await ask('/v1/accounts', { name: 'Tester' })
  await ask(`/v1/accounts/${account.id}/grants`, { amountUsd: '100000', reason: 'start', livemode: false })
  const scopes = ['chat', 'usage', 'keys']
  const { secret: key } = await ask('/v1/api-keys', { name: 'A key', accountId: account.id, scopes })
  let measured = 0
  return {
    router,
    accountId: account.id,
    message: {
      path: '/v1/messages',
      key,
      good: {
        model: 'mesh/claude-sonnet-4.5',
        max_tokens: 8,
        messages: [{ role: 'user', content: 'Hello' }],
      },
      okStatus: 200,
      bodyBytesMax: BODY_BYTES_MAX,
    },
    response: {
      path: '/v1/responses',
      key,
      good: { model: 'mesh/gpt-4o-mini', max_output_tokens: 16, input: 'Hello' },
      okStatus: 200,
      bodyBytesMax: BODY_BYTES_MAX,
    },
    call: {
      path: '/v1/chat/completions',
      key,
      good: { model: 'mesh/gpt-4o-mini', max_tokens: 8, messages: [{ role: 'user', content: 'Hello' }] },
      okStatus: 200,
      bodyBytesMax: BODY_BYTES_MAX,
    },
    keys: {
      path: '/v1/api-keys',
      key,
      good: { name: 'Another key' },
      okStatus: 201,
      bodyBytesMax: MANAGEMENT_BODY_BYTES_MAX,
    },
    embeddings: {
      path: '/v1/embeddings',
      key,
      good: { model: 'mesh/text-embedding-3-small', input: 'Hello', dimensions: 8 },
      okStatus: 200,
      bodyBytesMax: BODY_BYTES_MAX,
    },
    rerank: {
      path: '/v1/rerank',
      key,
      good: { model: 'mesh/qwen3-reranker-0.6b', query: 'Hello', documents: ['Hello', 'there'] },
      okStatus: 200,
      bodyBytesMax: BODY_BYTES_MAX,
    },
    counts: {
      path: '/v1/tokens/count',
      key,
      good: { model: 'mesh/gpt-5-mini', input: 'Hello' },
      okStatus: 200,
      bodyBytesMax: BODY_BYTES_MAX,
    },
    async usedBytes() {
      measured += 1
      router.signal('SIGUSR2')
      let probed = { measured: 0, usedBytes: 0 }
      await until('the router has measured its memory', async () => {
        const text = await readFile(probeFile, 'utf8').catch(() => undefined)
        if (text !== undefined) probed = JSON.parse(text)
        return probed.measured === measured
      })
      return probed.usedBytes
    },
  }
}

/** What is large is the same to every shape until it is parsed. */
function isSmall({ parts }: HostileCase): boolean {
  return parts.every((part) => part.length < 1_000_000)
}

async function runAll(cases: readonly HostileCase[], url: string, t?: TestContext): Promise<void> {
  const waiting = [...cases]
  const faults: string[] = []
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { name } = next
      await run(next, url).catch((error: unknown) => void faults.push(`${name}: ${error}`))
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, work))
  assert.deepEqual(faults, [])
  t?.diagnostic(`${cases.length} requests`)
}

async function run(hostile: HostileCase, url: string): Promise<void> {
  const { name, parts, options, answer: expected, isBodiless } = hostile
  const received = await exchange(url, parts, options)
  assert.ok(
    !received.includes(CANARY),
    `${name}: the answer repeats what was sent: ${received.slice(0, 600)}`,
  )
  if (expected === 'closed') {
    assert.equal(received, '', name)
    return
  }
  const answers = answersIn(received)
  const [answer] = answers
  assert.ok(answer && answers.length === 1, `${name}: ${answers.length} answers: ${received.slice(0, 400)}`)
  assert.match(answer.head, /\r\nx-request-id: req_[0-9a-z]{26}(?:\r\n|$)/i, name)
  if (expected === 'ok') {
    assert.ok(
      answer.status === 200 || answer.status === 201,
      `${name}: ${answer.status} ${answer.body.slice(0, 400)}`,
    )
    return
  }
  assert.equal(answer.status, ERRORS[expected].status, `${name}: ${answer.body.slice(0, 400)}`)
  if (isBodiless) return
  const { error, type } = JSON.parse(answer.body)
  assert.equal(error.code, expected, name)
  // Anthropic's envelope has that vendor's own words for the family.
  if (type !== 'error') assert.equal(error.type, ERRORS[expected].type, name)
  assert.match(error.message, /^.{10,600}\.$/su, name)
}

/** What comes too slowly: it is cut off by `http.headersTimeoutMs`, and a body by `calls.bodyTimeoutMs`. */
function slowCases({ call }: Stage): HostileCase[] {
  const opening = `POST ${call.path} HTTP/1.1\r\nHost: mesh\r\nX-Slow: `
  return [
    { name: 'nothing at all', parts: [''], answer: 'request_timeout' },
    { name: 'headers that stop', parts: [opening], answer: 'request_timeout' },
    {
      name: 'headers, byte by byte',
      parts: [opening, 'a'],
      options: { trickleMs: 50 },
      answer: 'request_timeout',
    },
    {
      name: 'a body that stops',
      parts: [head(call, ['Content-Type: application/json', 'Content-Length: 100']), `{"${CANARY}":`],
      answer: 'request_timeout',
    },
    {
      name: 'a body, byte by byte',
      parts: [head(call, ['Content-Type: application/json', 'Content-Length: 100000']), ' '],
      options: { trickleMs: 50 },
      answer: 'request_timeout',
    },
    {
      name: 'chunks that stop',
      parts: [head(call, ['Content-Type: application/json', 'Transfer-Encoding: chunked']), '5\r\n{"a"'],
      answer: 'request_timeout',
    },
  ]
}

/** Bytes that cannot be read, where a request came before them. */
async function oneAnswerEach({ router, call }: Stage): Promise<void> {
  const { url } = router
  const garbage = `${CANARY}\r\n\r\n`
  const lines = ['Host: mesh', `Authorization: Bearer ${call.key}`, 'Content-Type: application/json']
  const whole = (more: object) => {
    const body = JSON.stringify({ ...call.good, ...more })
    const top = [`POST ${call.path} HTTP/1.1`, ...lines, `Content-Length: ${body.length}`]
    return `${top.join('\r\n')}\r\n\r\n${body}`
  }
  const get = `GET /v1/key HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
  const slow = { stream: true, max_tokens: 100, metadata: { mesh_simulate: 'tokens=100,pace=100' } }

  const refused = openWire(url)
  refused.send(`POST ${call.path} HTTP/1.1\r\nHost: mesh\r\nTransfer-Encoding: chunked\r\n\r\n`)
  await until('the one without a key is refused', () => refused.text().includes('invalid_api_key'))
  refused.send(garbage)
  await refused.closed
  assert.deepEqual(
    answersIn(refused.text()).map(({ status }) => status),
    [401],
  )

  const streaming = openWire(url)
  streaming.send(whole(slow))
  await until('the stream has begun', () => streaming.text().includes('data: '))
  streaming.send(get)
  // What is asked meanwhile has its answer by then, which waits for the end of the stream.
  const chunks = () => streaming.text().split('data: ').length
  const begun = chunks()
  await until('the stream goes on', () => chunks() > begun + 4)
  streaming.send(garbage)
  await streaming.closed
  assert.equal(streaming.text().match(/HTTP\/1\.1 \d/g)?.length, 1, 'nothing is written into a stream')

  const running = openWire(url)
  running.send(whole({ ...slow, stream: false }) + garbage)
  await running.closed
  assert.equal(running.text(), '', 'a call that runs, and may be charged, is not said to be no request')

  const large = openWire(url)
  const length = `Content-Length: ${call.bodyBytesMax + 2}`
  large.send(`POST ${call.path} HTTP/1.1\r\n${[...lines, length].join('\r\n')}\r\nConnection: close\r\n\r\n `)
  let isClosed = false
  void large.closed.then(() => {
    isClosed = true
  })
  await until('it is refused', () => large.text().includes('payload_too_large'))
  large.send(Buffer.alloc(call.bodyBytesMax, ' '))
  await router.request('GET', '/v1/key', { key: call.key })
  assert.equal(isClosed, false, 'who still sends would lose his answer')
  large.send(' ')
  await large.closed

  const done = openWire(url)
  done.send(get)
  await until('it is answered', () => done.text().includes('is_management_key'))
  done.send(garbage)
  await done.closed
  assert.deepEqual(
    answersIn(done.text()).map(({ status }) => status),
    [200, 400],
  )
}

/** How formulas begin, and what could hide that: quotes and separators of the format itself. */
const FORMULAS = [
  '=1+1',
  '+1',
  '-1',
  '@SUM(1)',
  '=HYPERLINK("https://example.com","a, b")',
  '"=1+1"',
  '\uff1d1+1',
  '\uff0b1',
  '\uff0d1',
  '\uff20SUM(1)',
  'a,=1+1',
  "'=1+1",
]

async function noFormulas({ router, accountId, keys }: Stage): Promise<void> {
  for (const reason of FORMULAS) {
    const body = { amountUsd: '1', reason, livemode: false }
    const granted = await router.request('POST', `/v1/accounts/${accountId}/grants`, {
      key: router.adminKey,
      body,
    })
    assert.equal(granted.status, 201, granted.text)
  }
  const path = `/v1/ledger?limit=${FORMULAS.length}`
  const { text } = await router.request('GET', path, { key: keys.key, headers: { accept: 'text/csv' } })
  const [names, ...rows] = readCsv(text)
  assert.deepEqual(names?.slice(-1), ['reason'])
  const reasons = rows.map((row) => row.at(-1) ?? '')
  const inert = (reason: string) => (/^[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(reason) ? `'${reason}` : reason)
  assert.deepEqual(reasons.sort(), FORMULAS.map(inert).sort())
  for (const cell of rows.flat()) assert.doesNotMatch(cell, /^[=+@]|^-(?!\d+\.\d{9}$)/)
}

/** Reads RFC 4180. */
function readCsv(text: string): string[][] {
  const rows: string[][] = [[]]
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    rows.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain ?? '')
    if (end !== ',') rows.push([])
  }
  return rows.slice(0, -1)
}

test('bodies of every other route are cut off too, and nobody is waited for who was refused already', async () => {
  const timeoutMs = 200
  await using mesh = await startHttpFixture({
    bounds: { bodyTimeoutMs: timeoutMs, headersTimeoutMs: timeoutMs },
  })
  const { secret } = await mesh.createKey()
  const lines = ['Content-Type: application/json', 'Content-Length: 1000']
  const opening = (key: string, path: string) =>
    [`POST ${path} HTTP/1.1`, 'Host: mesh', `Authorization: Bearer ${key}`, ...lines, '', '{'].join('\r\n')
  const late = [secret, mesh.operatorKey].map(
    (key) => [opening(key, '/v1/api-keys'), 'request_timeout'] as const,
  )
  const refused = [
    [opening('mesh_live_nobody', '/v1/api-keys'), 'invalid_api_key'],
    [opening(secret, '/v1/nowhere/at/all'), 'request_timeout'],
  ] as const
  for (const trickleMs of [undefined, 20]) {
    for (const [text, code] of [...late, ...refused]) {
      const received = await exchange(mesh.url, [text, ' '], trickleMs === undefined ? {} : { trickleMs })
      const answers = answersIn(received)
      assert.deepEqual(
        answers.map(({ body }) => JSON.parse(body).error.code),
        [code],
      )
    }
  }
})
