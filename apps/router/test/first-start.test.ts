import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { livePostmaster } from '../src/storage/postmaster.ts'
import { isRoot, unprivilegedUser } from '../src/storage/system-user.ts'
import { STREAM_END, streamPayloads } from './support/chat-stream.ts'
import {
  type Finished,
  newRouterHome,
  type RouterProcess,
  START_PATIENCE_MS,
} from './support/router-process.ts'
import { until } from './support/until.ts'

/** A start that makes no database takes a second; this is for machines that do much else at the time. */
const QUICK_MS = 15_000
/** Far less than an idle connection is kept open: nobody waits for one that a caller left behind. */
const DRAINED_MS = 20_000
const CTRL_C = '\x03'

const HELLO = { model: 'mesh/claude-sonnet-4.5', messages: [{ role: 'user', content: 'hello' }] }

function assertRefused({ code, stdout, stderr }: Finished, sentence: RegExp): void {
  assert.equal(code, 1)
  assert.equal(stdout, '')
  assert.match(stderr, sentence)
  assert.match(stderr, /^[A-Z][^\n]*\.\n$/, 'one plain sentence')
}

function serverOf(home: string) {
  const folder = join(home, 'postgres')
  return existsSync(folder) ? livePostmaster(join(realpathSync(folder), 'data')) : undefined
}

async function callOf(router: RouterProcess, body: object = HELLO) {
  const answer = await router.request('POST', '/v1/chat/completions', { key: router.testKey ?? '', body })
  assert.equal(answer.status, 200, answer.text)
  return answer
}

test('a first start prints a key that works, a second one prints none and is quick', async (t) => {
  const home = await newRouterHome(t)
  const first = await home.start()
  assert.deepEqual(Object.keys(JSON.parse(first.said.stdout)), ['url', 'adminKeyFile', 'testKey'])
  assert.match(first.said.stdout, /^[^\n]+\n$/, 'one line')
  assert.match(first.testKey ?? '', /^mesh_test_[0-9A-Za-z]{49}$/)
  assert.equal(first.adminKeyFile, join(home.folder, 'admin-key'))
  assert.equal(statSync(first.adminKeyFile).mode & 0o777, 0o600)
  const folder = statSync(home.folder)
  // Root lets PostgreSQL's group pass through to the database, without reading anything on the way.
  assert.equal(folder.mode & 0o777, isRoot() ? 0o710 : 0o700)
  if (isRoot()) assert.equal(folder.gid, unprivilegedUser().gid)
  assert.equal((await first.request('GET', '/v1/accounts', { key: first.adminKey })).status, 200)

  const { json } = await callOf(first)
  assert.match(json.choices[0].message.content, /^Simulated answer/)
  const stopped = await first.kill('SIGTERM')
  assert.deepEqual([stopped.code, stopped.signal], [0, null])
  assert.equal(serverOf(home.folder), undefined)

  const startedAt = performance.now()
  const second = await home.start()
  assert.ok(performance.now() - startedAt < QUICK_MS)
  assert.deepEqual(Object.keys(JSON.parse(second.said.stdout)), ['url', 'adminKeyFile'])
  const again = await second.request('POST', '/v1/chat/completions', {
    key: first.testKey ?? '',
    body: HELLO,
  })
  assert.equal(again.status, 200)
})

test('on a terminal it prints words and a curl line that works as it stands, and Ctrl-C stops it', async (t) => {
  for (const program of ['script', 'curl']) {
    if (spawnSync(program, ['--version']).error) return t.skip(`this machine has no program "${program}"`)
  }
  const home = await newRouterHome(t)
  const terminal = home.startOnTerminal()
  await until('it has said all', () => /Ctrl-C stops MESH/.test(terminal.screen()), START_PATIENCE_MS)
  const screen = terminal.screen().replaceAll('\r', '')
  assert.match(screen, /^Starting MESH …\n/)
  assert.match(screen, /^MESH is at http:\/\/127\.0\.0\.1:\d+\nThe admin key is in \//m)
  const line = /^curl .*$/m.exec(screen)?.[0]
  assert.ok(line, screen)
  const answer = JSON.parse(execFileSync('/bin/sh', ['-c', `${line} -sS`], { encoding: 'utf8' }))
  assert.equal(answer.choices[0].finish_reason, 'stop')
  assert.ok(answer.usage.cost > 0)
  terminal.type(CTRL_C)
  assert.equal((await terminal.ended).code, 0)
  assert.equal(serverOf(home.folder), undefined)
})

test('what stands in the way of a start is one plain sentence and exit code 1', async (t) => {
  const home = await newRouterHome(t)
  const other = createServer().listen(0, '127.0.0.1')
  t.after(() => other.close())
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  assertRefused(await home.refused({ PORT: String(port) }), /^Port \d+ on 127\.0\.0\.1 is in use: .*PORT/)
  assert.equal(serverOf(home.folder), undefined)

  const settings = join(home.scratch, 'settings.json')
  writeFileSync(settings, JSON.stringify({ pricing: { markUpBasisPoints: 1 } }))
  assertRefused(await home.refused({ MESH_SETTINGS: settings }), /unknown key pricing\.markUpBasisPoints/)
  assertRefused(await home.refused({ MESH_LOG_LEVEL: 'loud' }), /^MESH_LOG_LEVEL must be one of /)
  assertRefused(await home.refused({ PORT: 'http' }), /^PORT must be a whole number/)
  assertRefused(await home.refused({ MESH_ADMIN_KEY: 'short' }), /^MESH_ADMIN_KEY is too short/)
  assertRefused(await home.refused({ DATABASE_URL: 'postgresql://nowhere' }), /MESH_SIGNING_KEY_FILE/)

  const router = await home.start()
  assert.ok(router.testKey, 'a start that failed used up no first key')
  assertRefused(await home.refused(), /^Another MESH already runs on .*MESH_HOME/)
  assert.equal((await router.request('GET', '/readyz')).status, 200)

  const database = await home.openDatabase()
  await database.pool.query(
    `insert into schema_migrations (number, name, sha256) values (9999, 'later', 'later')`,
  )
  await database.close()
  await router.kill('SIGTERM')
  assertRefused(await home.refused(), /^The database is of a newer MESH \(schema 9999,/)
  assert.equal(serverOf(home.folder), undefined)
})

test('an unknown variable of MESH is warned of with the nearest name', async (t) => {
  const home = await newRouterHome(t)
  const router = await home.start({ MESH_LOG_LEVLE: 'debug', MESH_OPENAI_BASEURL: 'http://localhost' })
  assert.match(
    router.said.stderr,
    /^Warning: MESH_LOG_LEVLE is not a setting of MESH; did you mean MESH_LOG_LEVEL\?$/m,
  )
  assert.match(router.said.stderr, /did you mean MESH_OPENAI_BASE_URL\?$/m)
})

test('SIGTERM lets a running stream end whole, takes no new call, and stops the database', async (t) => {
  const home = await newRouterHome(t)
  const router = await home.start()
  const response = await fetch(`${router.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${router.testKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...HELLO, stream: true, metadata: { mesh_simulate: 'tokens=60,pace=50' } }),
  })
  const payloads = streamPayloads(response)
  const received = [String((await payloads.next()).value)]
  // Browsers open connections that they may never use.
  const silent = connect(Number(new URL(router.url).port), '127.0.0.1')
  t.after(() => silent.destroy())
  await once(silent, 'connect')
  router.signal('SIGTERM')
  await until('new calls are refused', async () => {
    const answer = await router.request('GET', '/healthz').catch(() => ({ status: 0 }))
    assert.ok([0, 200, 503].includes(answer.status))
    return answer.status !== 200
  })
  for await (const payload of payloads) received.push(payload)
  assert.equal(received.at(-1), STREAM_END)
  const finish = JSON.parse(received.at(-2) ?? '')
  assert.equal(finish.choices[0].finish_reason, 'stop')
  assert.equal(finish.usage.completion_tokens, 60)

  const endedAt = performance.now()
  const { code, signal } = await router.ended
  assert.deepEqual([code, signal], [0, null])
  assert.ok(performance.now() - endedAt < DRAINED_MS)
  assert.equal(serverOf(home.folder), undefined)
})

test('SIGTERM during the start ends it, and leaves no database behind', async (t) => {
  const home = await newRouterHome(t)
  await (await home.start()).kill('SIGTERM')
  const { code, signal } = await home.interrupted('SIGTERM', () => serverOf(home.folder) !== undefined)
  assert.deepEqual([code, signal], [0, null])
  assert.equal(serverOf(home.folder), undefined)
})

test('ledger verify passes sound books, running or stopped, and tells of a balance that was tampered with', async (t) => {
  const home = await newRouterHome(t)
  const router = await home.start()
  await callOf(router)
  await callOf(router, {
    ...HELLO,
    metadata: { mesh_simulate: 'overloaded' },
    model: 'mesh/gpt-5-mini',
  }).catch(() => undefined)
  const askedAt = performance.now()
  const sound = await home.ops(['ledger', 'verify'])
  assert.ok(performance.now() - askedAt < QUICK_MS)
  assert.deepEqual([sound.code, sound.stderr], [0, ''], sound.stdout)

  const database = await home.openDatabase()
  const shift = (nano: number) =>
    database.pool.query('update balances set balance_nano = balance_nano + $1 where not livemode', [nano])
  await shift(1)
  const tampered = await home.ops(['ledger', 'verify'])
  assert.equal(tampered.code, 1)
  assert.match(
    tampered.stdout,
    /^balance: The test balance of acct_\w+ is \$\d+\.\d{9}, and its entries sum to /m,
  )
  await shift(-1)
  await database.close()

  assert.equal((await router.request('GET', '/readyz')).status, 200, 'the router was not disturbed')
  assert.equal((await router.kill('SIGTERM')).code, 0)
  const stopped = await home.ops(['ledger', 'verify'])
  assert.deepEqual([stopped.code, stopped.stderr], [0, ''], stopped.stdout)
  assert.equal(serverOf(home.folder), undefined, 'what the command started, it stopped')
})

test('a receipt verifies offline with nothing but the published keys, and not with a byte changed', async (t) => {
  const home = await newRouterHome(t)
  const router = await home.start()
  const called = await callOf(router)
  const receiptId = called.headers.get('x-mesh-receipt-id')
  const key = router.testKey ?? ''
  const receipt = await router.request('GET', `/v1/receipts/${receiptId}?format=jws`, { key })
  assert.match(receipt.headers.get('content-type') ?? '', /^application\/jose/)
  const keys = await router.request('GET', '/.well-known/mesh-receipt-keys.json')
  await router.kill('SIGTERM')

  const receiptFile = join(home.scratch, 'receipt.jws')
  const keysFile = join(home.scratch, 'keys.json')
  writeFileSync(receiptFile, receipt.text)
  writeFileSync(keysFile, keys.text)
  const verify = () => home.ops(['receipt', 'verify', receiptFile, '--keys', keysFile])
  const genuine = await verify()
  assert.equal(genuine.code, 0, genuine.stdout)
  const claims = JSON.parse(genuine.stdout.replace(/^valid\n/, ''))
  assert.equal(claims.receiptId, receiptId)
  assert.equal(claims.totalUsd, called.headers.get('x-mesh-total-usd'))

  const [header = '', payload = '', signature = ''] = readFileSync(receiptFile, 'utf8').split('.')
  const bytes = Buffer.from(payload, 'base64url')
  const digit = bytes.indexOf('"totalUsd":"0.') + '"totalUsd":"0.'.length
  bytes[digit] = bytes[digit] === 0x30 ? 0x31 : 0x30
  const flipped = signature.startsWith('A') ? `B${signature.slice(1)}` : `A${signature.slice(1)}`
  for (const parts of [
    [header, bytes.toString('base64url'), signature],
    [header, payload, flipped],
  ]) {
    writeFileSync(receiptFile, parts.join('.'))
    const changed = await verify()
    assert.equal(changed.code, 1)
    assert.match(changed.stdout, /^NOT VALID: The signature does not fit/)
  }
})
