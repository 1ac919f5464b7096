import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type AwsEvent, awsEventsIn } from '../../test/aws-events.ts'
import { startSimulator } from '../server.ts'

/* What the other providers' faults are held to (`faults.test.ts`), in Bedrock's binary stream. */

const simulator = await startSimulator()
after(() => simulator.close())

const TERMINAL = 'messageStop'

function post(steering: string, stream: boolean, said = 'Hello', signal?: AbortSignal) {
  const action = stream ? 'converse-stream' : 'converse'
  return fetch(`${simulator.baseUrl('amazon-bedrock')}/model/us.amazon.nova-2-lite-v1%3A0/${action}`, {
    method: 'POST',
    redirect: 'manual',
    headers: {
      'content-type': 'application/json',
      authorization: 'Bearer test',
      'x-mesh-simulate': steering,
    },
    body: JSON.stringify({
      messages: [{ role: 'user', content: [{ text: said }] }],
      inferenceConfig: { maxTokens: 8_000 },
    }),
    ...(signal ? { signal } : {}),
  })
}

interface Received {
  readonly bytes: Uint8Array
  readonly events: readonly AwsEvent[]
  readonly cut: boolean
}

/** Reads as far as the connection goes; `cut` tells that it was torn. */
async function read(answer: Response): Promise<Received> {
  const pieces: Uint8Array[] = []
  let cut = false
  try {
    for await (const piece of answer.body ?? []) pieces.push(piece)
  } catch {
    cut = true
  }
  const bytes = Buffer.concat(pieces)
  return { bytes, events: awsEventsIn(bytes), cut }
}

function saidIn({ events }: Pick<Received, 'events'>): string {
  return events
    .map(({ type, body }) => {
      const delta = type === 'contentBlockDelta' ? body.delta : undefined
      return typeof delta === 'object' && delta !== null && 'text' in delta ? String(delta.text) : ''
    })
    .join('')
}

const typesIn = ({ events }: Received) => events.map(({ type }) => type)

test('refusals of the host: status, the type in its header, and no header says when to come back', async () => {
  const expected = [
    ['rate_limit', 429, 'ThrottlingException'],
    ['overloaded', 503, 'ServiceUnavailableException'],
    ['server_error', 500, 'InternalServerException'],
  ] as const
  for (const [steering, status, type] of expected) {
    for (const stream of [false, true]) {
      const answer = await post(steering, stream)
      assert.equal(answer.status, status)
      assert.equal(answer.headers.get('retry-after'), null)
      assert.equal(answer.headers.get('x-amzn-errortype')?.split(':')[0], type)
      assert.deepEqual(Object.keys(JSON.parse(await answer.text())), ['message'])
    }
  }
})

test('what strikes an answer on its way', async () => {
  const whole = saidIn(await read(await post('', true)))
  const torn = await read(await post('cut_stream', true))
  assert.equal(torn.cut, true)
  assert.ok(!typesIn(torn).includes(TERMINAL))
  const part = saidIn(torn).length / whole.length
  assert.ok(part > 0.3 && part < 0.8, String(part))
  assert.equal((await read(await post('cut_stream', false))).cut, true)

  const early = await read(await post('early_eof', true))
  assert.equal(early.cut, false)
  assert.ok(saidIn(early).length > 20 && !typesIn(early).includes('metadata'))
  const half = await read(await post('early_eof', false))
  assert.equal(half.cut, false)
  assert.throws(() => JSON.parse(Buffer.from(half.bytes).toString()))

  const [first, ...none] = typesIn(await read(await post('error_first', true)))
  assert.equal(first, 'serviceUnavailableException')
  assert.deepEqual(none, [])
  const later = typesIn(await read(await post('error_mid', true)))
  assert.ok(later.length > 4)
  assert.equal(later.at(-1), 'serviceUnavailableException')

  const empty = await read(await post('empty', true))
  assert.equal(saidIn(empty), '')
  assert.ok(typesIn(empty).includes(TERMINAL))
  assert.match(Buffer.from((await read(await post('html', true))).bytes).toString(), /^<!DOCTYPE html>/)
  assert.equal((await post('redirect', true)).status, 307)
})

test('an answer of exactly so many tokens, in usage and in what was generated; an echo; lies', async () => {
  const usageIn = ({ events }: Received) => events.find(({ type }) => type === 'metadata')?.body.usage
  for (const tokens of [1, 7, 200, 5_000]) {
    const received = await read(await post(`tokens=${tokens}`, true))
    assert.equal(Math.ceil(saidIn(received).length / 4), tokens)
    assert.equal(Reflect.get(Object(usageIn(received)), 'outputTokens'), tokens)
    const { records } = await simulator.until((stats) => stats.running === 0)
    assert.equal(records.at(-1)?.outputTokens, tokens)
  }
  const content = 'Zwölf Boxkämpfer 🥊 "quoted"\n\\ {"messageStop": 1}'
  assert.equal(saidIn(await read(await post('echo', true, content))), content)
  const usageOf = async (lie: string) =>
    JSON.parse(await (await post(`tokens=40,lying_usage=${lie}`, false)).text()).usage
  assert.ok((await usageOf('negative')).outputTokens < 0)
  assert.ok((await usageOf('huge')).outputTokens > 1_000_000_000)
  assert.equal(await usageOf('missing'), undefined)
  assert.equal((await usageOf('zero')).outputTokens, 0)
  assert.equal((await usageOf('inflated')).outputTokens, 120)
  assert.equal((await usageOf('deflated')).outputTokens, 1)
})

test('what never ends goes on until its client leaves, and what waits for release goes on then', async () => {
  for (const word of ['timeout', 'stall', 'endless', 'drip', 'oversized']) {
    const before = simulator.stats()
    const leave = new AbortController()
    const answer = post(`tokens=40,${word}`, true, 'Hello', leave.signal).then(read)
    answer.catch(() => undefined)
    const enough = word === 'timeout' ? 0 : 1
    await simulator.until(
      (stats) => stats.running === 1 && (stats.records.at(-1)?.outputTokens ?? 0) >= enough,
    )
    leave.abort()
    const left = await simulator.until((stats) => stats.running === 0)
    assert.equal(left.cancelled, before.cancelled + 1, word)
  }
  const held = ['hold', 'hold=5'].map((steering) => post(steering, true).then(read))
  await simulator.until((stats) => stats.held === 2)
  assert.equal(simulator.release(), 2)
  for (const received of await Promise.all(held)) assert.ok(typesIn(received).includes(TERMINAL))
})
