import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { startSimulator } from '../server.ts'

const simulator = await startSimulator()
after(() => simulator.close())

const STILL = { thinkingConfig: { thinkingBudget: 0 } }
/** A stream has no other end than its reason to finish. */
const TERMINAL = '"finishReason":"STOP"'

function post(steering: string, stream: boolean, said = 'Hello', signal?: AbortSignal) {
  const action = stream ? 'streamGenerateContent?alt=sse' : 'generateContent'
  return fetch(`${simulator.baseUrl('google')}/models/gemini-2.5-flash:${action}`, {
    method: 'POST',
    redirect: 'manual',
    headers: { 'content-type': 'application/json', 'x-goog-api-key': 'test', 'x-mesh-simulate': steering },
    body: JSON.stringify({ contents: [{ parts: [{ text: said }] }], generationConfig: STILL }),
    ...(signal ? { signal } : {}),
  })
}

/** Reads as far as the connection goes; `cut` tells that it was torn. */
async function read(answer: Response): Promise<{ text: string; cut: boolean }> {
  const decoder = new TextDecoder()
  let text = ''
  try {
    for await (const bytes of answer.body ?? []) text += decoder.decode(bytes, { stream: true })
  } catch {
    return { text, cut: true }
  }
  return { text, cut: false }
}

function messagesOf(text: string): readonly string[] {
  return text
    .split('\r\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => line.slice('data: '.length))
}

function saidIn(text: string): string {
  return [...text.matchAll(/"text": ?("(?:[^"\\]|\\.)*")/g)]
    .map(([, said]) => JSON.parse(said ?? ''))
    .join('')
}

test('refusals of the host: status, word and details, and no header says when to come back', async () => {
  const expected = [
    ['rate_limit', 429, 'RESOURCE_EXHAUSTED'],
    ['overloaded', 503, 'UNAVAILABLE'],
    ['server_error', 500, 'INTERNAL'],
  ] as const
  for (const [steering, status, word] of expected) {
    for (const stream of [false, true]) {
      const answer = await post(steering, stream)
      assert.equal(answer.status, status)
      assert.equal(answer.headers.get('retry-after'), null)
      const { error } = JSON.parse(await answer.text())
      assert.deepEqual([error.code, error.status], [status, word])
      assert.equal(JSON.stringify(error).includes('"retryDelay":"1s"'), steering === 'rate_limit')
    }
  }
})

test('no key is 403, no such path 404, and bodies that are none 400', async () => {
  const base = simulator.baseUrl('google')
  const send = async (path: string, headers: Record<string, string>, body = '{}') =>
    (await fetch(`${base}${path}`, { method: 'POST', headers, body })).status
  const key = { 'x-goog-api-key': 'test' }
  const model = '/models/gemini-2.5-flash:generateContent'
  assert.equal(await send(model, { authorization: 'Bearer test' }), 403)
  assert.equal(await send('/models/gemini-2.5-flash:embedSomething', key), 404)
  assert.equal(await send('/models/gemini-1.0-pro:generateContent', key), 404)
  for (const body of ['{', '[]', '{}', '{"contents":[]}', '{"contents":[{"parts":[]}]}', '{"made_up":1}']) {
    assert.equal(await send(model, key, body), 400, body)
  }
})

test('what strikes an answer on its way', async () => {
  const whole = saidIn((await read(await post('', true))).text)
  const torn = await read(await post('cut_stream', true))
  assert.equal(torn.cut, true)
  assert.ok(saidIn(torn.text).length > 0.3 * whole.length && saidIn(torn.text).length < 0.8 * whole.length)
  assert.equal((await read(await post('cut_stream', false))).cut, true)

  const early = await read(await post('early_eof', true))
  assert.equal(early.cut, false)
  assert.ok(!early.text.includes(TERMINAL))

  const malformed = await read(await post('malformed', true))
  assert.ok(malformed.text.includes(TERMINAL))
  assert.equal(messagesOf(malformed.text).filter((message) => !isJson(message)).length, 1)

  const [first, ...none] = messagesOf((await read(await post('error_first', true))).text)
  assert.equal(JSON.parse(first ?? '').error.status, 'UNAVAILABLE')
  assert.deepEqual(none, [])
  const later = messagesOf((await read(await post('error_mid', true))).text)
  assert.ok(later.length > 4)
  assert.ok(JSON.parse(later.at(-1) ?? '').error)

  const empty = await read(await post('empty', true))
  assert.equal(saidIn(empty.text), '')
  assert.ok(empty.text.includes(TERMINAL))
  assert.match((await read(await post('html', true))).text, /^<!DOCTYPE html>/)
  assert.equal((await post('redirect', true)).status, 307)
})

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

test('an answer of exactly so many tokens, in usage and in what was generated; an echo; lies', async () => {
  for (const tokens of [1, 7, 200, 5000]) {
    const { text } = await read(await post(`tokens=${tokens}`, true))
    assert.equal(Math.ceil(saidIn(text).length / 4), tokens)
    assert.equal(JSON.parse(messagesOf(text).at(-1) ?? '').usageMetadata.candidatesTokenCount, tokens)
    const { records } = await simulator.until((stats) => stats.running === 0)
    assert.equal(records.at(-1)?.outputTokens, tokens)
  }
  const content = 'Zwölf Boxkämpfer 🥊 "quoted"\n\\ data: [DONE]'
  assert.equal(saidIn((await read(await post('echo', true, content))).text), content)
  assert.equal(saidIn(await (await post('echo', false, content)).text()), content)
  const usageOf = async (lie: string) =>
    JSON.parse(await (await post(`tokens=40,lying_usage=${lie}`, false)).text()).usageMetadata
  assert.ok((await usageOf('negative')).candidatesTokenCount < 0)
  assert.ok((await usageOf('huge')).promptTokenCount > 1_000_000_000)
  assert.equal(await usageOf('missing'), undefined)
  assert.equal((await usageOf('inflated')).candidatesTokenCount, 120)
  assert.equal((await usageOf('deflated')).candidatesTokenCount, 1)
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
  for (const { text } of await Promise.all(held)) assert.ok(text.includes(TERMINAL))
})
