import assert from 'node:assert/strict'
import { get } from 'node:http'
import { after, test } from 'node:test'
import { startSimulator } from './server.ts'

const simulator = await startSimulator()
after(() => simulator.close())

type Vendor = 'openai' | 'anthropic'
const vendors = ['openai', 'anthropic'] as const

const requests = {
  openai: {
    url: `${simulator.baseUrl('openai')}/chat/completions`,
    body: { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'Hello' }] },
    terminal: 'data: [DONE]',
  },
  anthropic: {
    url: `${simulator.baseUrl('anthropic')}/v1/messages`,
    body: { model: 'claude-sonnet-4-5', max_tokens: 500, messages: [{ role: 'user', content: 'Hello' }] },
    terminal: '"type":"message_stop"',
  },
}

function post(
  vendor: Vendor,
  steering: string,
  extra: object = {},
  signal?: AbortSignal,
  redirect: 'follow' | 'manual' = 'follow',
) {
  const { url, body } = requests[vendor]
  return fetch(url, {
    method: 'POST',
    redirect,
    headers: {
      'content-type': 'application/json',
      authorization: 'Bearer test',
      'x-api-key': 'test',
      'anthropic-version': '2023-06-01',
      'x-mesh-simulate': steering,
    },
    body: JSON.stringify({ ...body, ...extra }),
    ...(signal === undefined ? {} : { signal }),
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

function dataLines(text: string): readonly string[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => line.slice('data: '.length))
}

/** The text that a stream's readable lines carry, in either vendor's shape. */
function streamedText(text: string): string {
  return [...text.matchAll(/"(?:content|text)":"((?:[^"\\]|\\.)*)"/g)]
    .map((match) => JSON.parse(`"${match[1]}"`))
    .join('')
}

const stream = { stream: true }

for (const vendor of vendors) {
  const { terminal } = requests[vendor]

  test(`${vendor}: refusals of the host have the vendor's status, body and headers`, async () => {
    const expected = {
      openai: {
        rate_limit: [429, 'rate_limit_exceeded'],
        overloaded: [503, 'service_unavailable'],
        server_error: [500, 'server_error'],
      },
      anthropic: {
        rate_limit: [429, 'rate_limit_error'],
        overloaded: [529, 'overloaded_error'],
        server_error: [500, 'api_error'],
      },
    } as const
    for (const fault of ['rate_limit', 'overloaded', 'server_error'] as const) {
      for (const extra of [{}, stream]) {
        const answer = await post(vendor, fault, extra)
        const [status, word] = expected[vendor][fault]
        assert.equal(answer.status, status)
        assert.equal(answer.headers.get('retry-after'), fault === 'rate_limit' ? '1' : null)
        const { error } = JSON.parse(await answer.text())
        assert.equal(error.code ?? error.type, word)
      }
    }
  })

  test(`${vendor}: html is a page under status 200`, async () => {
    const answer = await post(vendor, 'html', stream)
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('content-type'), 'text/html')
    assert.match(await answer.text(), /^<!DOCTYPE html>/)
  })

  test(`${vendor}: cut_stream tears the connection in the middle of an answer`, async () => {
    const whole = await read(await post(vendor, '', stream))
    const torn = await read(await post(vendor, 'cut_stream', stream))
    assert.equal(torn.cut, true)
    assert.doesNotMatch(torn.text, new RegExp(terminal.replaceAll('[', '\\[')))
    const part = streamedText(torn.text).length / streamedText(whole.text).length
    assert.ok(part > 0.3 && part < 0.8, String(part))
    assert.equal((await read(await post(vendor, 'cut_stream'))).cut, true)
    const early = await read(await post(vendor, 'cut_stream=40,tokens=60', stream))
    const tokens = streamedText(early.text).length / 4
    assert.ok(tokens >= 39 && tokens <= 44, String(tokens))
  })

  test(`${vendor}: early_eof ends cleanly without the terminal event`, async () => {
    const ended = await read(await post(vendor, 'early_eof', stream))
    assert.equal(ended.cut, false)
    assert.ok(!ended.text.includes(terminal))
    assert.ok(streamedText(ended.text).length > 20)
    const half = await read(await post(vendor, 'early_eof'))
    assert.equal(half.cut, false)
    assert.throws(() => JSON.parse(half.text))
  })

  test(`${vendor}: malformed is one line that no parser takes, and the rest goes on`, async () => {
    const { text, cut } = await read(await post(vendor, 'malformed', stream))
    assert.equal(cut, false)
    const broken = dataLines(text).filter((line) => {
      try {
        return JSON.parse(line) === undefined
      } catch {
        return true
      }
    })
    assert.equal(broken.length, 1)
    assert.ok(text.includes(terminal))
    const answer = await (await post(vendor, 'malformed')).text()
    assert.throws(() => JSON.parse(answer))
  })

  test(`${vendor}: an error inside a stream comes first, or after content, and ends it`, async () => {
    const first = await read(await post(vendor, 'error_first', stream))
    assert.equal(dataLines(first.text).length, 1)
    assert.ok(JSON.parse(dataLines(first.text)[0] ?? '').error)
    const later = await read(await post(vendor, 'error_mid', stream))
    assert.ok(dataLines(later.text).length > 4)
    assert.ok(JSON.parse(dataLines(later.text).at(-1) ?? '').error)
    assert.ok(!later.text.includes(terminal))
    const answer = await post(vendor, 'error_first')
    assert.equal(answer.status, 200)
    assert.ok(JSON.parse(await answer.text()).error)
  })

  test(`${vendor}: empty is a whole answer with nothing in it`, async () => {
    const streamed = await read(await post(vendor, 'empty', stream))
    assert.equal(streamedText(streamed.text), '')
    assert.ok(streamed.text.includes(terminal))
    const whole = JSON.parse(await (await post(vendor, 'empty')).text())
    assert.equal(whole.usage.completion_tokens ?? whole.usage.output_tokens, 0)
  })

  test(`${vendor}: timeout and stall hold the connection until the client leaves, which is counted`, async () => {
    for (const [steering, extra] of [
      ['timeout', stream],
      ['stall', stream],
      ['stall', {}],
    ] as const) {
      const before = simulator.stats()
      const leave = new AbortController()
      const answer = post(vendor, steering, extra, leave.signal)
      answer.catch(() => undefined)
      const enough = steering === 'timeout' ? 0 : 1
      await simulator.until(
        (stats) => stats.running === 1 && (stats.records.at(-1)?.outputTokens ?? 0) >= enough,
      )
      leave.abort()
      const left = await simulator.until((stats) => stats.running === 0)
      assert.equal(left.cancelled, before.cancelled + 1, steering)
      assert.equal(left.records.at(-1)?.state, 'cancelled')
    }
  })

  test(`${vendor}: an answer of exactly so many tokens, in usage and in what was generated`, async () => {
    for (const tokens of [1, 2, 7, 200, 5000]) {
      const body = {
        ...stream,
        ...(vendor === 'anthropic' ? { max_tokens: 8000 } : { stream_options: { include_usage: true } }),
      }
      const { text } = await read(await post(vendor, `tokens=${tokens}`, body))
      assert.equal(Math.ceil(streamedText(text).length / 4), tokens)
      const usages = [...text.matchAll(/"(?:completion|output)_tokens":(\d+)/g)]
      assert.equal(Number(usages.at(-1)?.[1]), tokens)
      assert.equal(
        (await simulator.until((stats) => stats.running === 0)).records.at(-1)?.outputTokens,
        tokens,
      )
    }
  })

  test(`${vendor}: echo repeats the last user text, whatever is in it`, async () => {
    const content = 'Zwölf Boxkämpfer 🥊 "quoted"\n\\ {"json": [1]} </end> data: [DONE]'
    const messages = [{ role: 'user', content }]
    const streamed = await read(await post(vendor, 'echo', { ...stream, messages }))
    assert.equal(streamedText(streamed.text), content)
    const whole = JSON.parse(await (await post(vendor, 'echo', { messages })).text())
    assert.equal(whole.choices?.[0].message.content ?? whole.content?.[0].text, content)
  })

  test(`${vendor}: lying usage is negative, huge or missing`, async () => {
    const usageOf = async (lie: string) =>
      JSON.parse(await (await post(vendor, `lying_usage=${lie}`)).text()).usage
    const output = (usage: Record<string, number>) =>
      usage.completion_tokens ?? usage.output_tokens ?? Number.NaN
    assert.ok(output(await usageOf('negative')) < 0)
    assert.ok(output(await usageOf('huge')) > 1_000_000_000)
    assert.equal(await usageOf('missing'), undefined)
    const body = { ...stream, stream_options: { include_usage: true } }
    const { text } = await read(
      await post(vendor, 'lying_usage=missing', vendor === 'openai' ? body : stream),
    )
    assert.doesNotMatch(text, /_tokens/)
  })

  test(`${vendor}: usage is zero, three times the output, or a token of it`, async () => {
    const outputOf = async (steering: string) => {
      const { usage } = JSON.parse(await (await post(vendor, `tokens=40${steering}`)).text())
      return usage.completion_tokens ?? usage.output_tokens
    }
    assert.equal(await outputOf(''), 40)
    assert.equal(await outputOf(',lying_usage=inflated'), 120)
    assert.equal(await outputOf(',lying_usage=deflated'), 1)
    assert.equal(await outputOf(',lying_usage=zero'), 0)
  })

  test(`${vendor}: redirect names another host`, async () => {
    const answer = await post(vendor, 'redirect', {}, undefined, 'manual')
    assert.equal(answer.status, 307)
    assert.match(answer.headers.get('location') ?? '', /^http:/)
  })

  test(`${vendor}: endless, drip and oversized go on until their client leaves`, async () => {
    for (const word of ['endless', 'drip', 'oversized']) {
      for (const extra of [stream, {}]) {
        const before = simulator.stats()
        const leave = new AbortController()
        const answer = await post(vendor, `tokens=40,${word}`, extra, leave.signal)
        const reader = answer.body?.getReader()
        let bytes = 0
        while (bytes < (word === 'drip' ? 4 : 200_000)) {
          const piece = await reader?.read()
          assert.ok(piece?.value, `${word} ended after ${bytes} bytes`)
          bytes += piece.value.length
        }
        leave.abort()
        const left = await simulator.until((stats) => stats.running === 0)
        assert.equal(left.cancelled, before.cancelled + 1, word)
      }
    }
  })

  test(`${vendor}: hold waits for release, before the answer or in the middle of it`, async () => {
    const answers = ['hold', 'hold=5', 'hold'].map((steering) => post(vendor, steering, stream).then(read))
    const held = await simulator.until((stats) => stats.held === 3)
    assert.equal(held.running, 3)
    // They came over three connections, in any order: one has begun, two have not.
    assert.equal(held.records.slice(-3).filter((record) => record.outputTokens > 0).length, 1)
    assert.equal(simulator.release(), 3)
    for (const answer of await Promise.all(answers)) assert.ok(answer.text.includes(terminal))
    assert.equal(simulator.release(), 0)
  })

  test(`${vendor}: a client that leaves stops the answer, and what was generated is known`, async () => {
    const leave = new AbortController()
    const answer = await post(
      vendor,
      'tokens=4000,hold=1000',
      { ...stream, ...(vendor === 'anthropic' ? { max_tokens: 5000 } : {}) },
      leave.signal,
    )
    assert.equal(answer.status, 200)
    await simulator.until((stats) => stats.held === 1)
    leave.abort()
    const stats = await simulator.until((now) => now.running === 0)
    const record = stats.records.at(-1)
    assert.equal(record?.state, 'cancelled')
    assert.ok((record?.outputTokens ?? 0) >= 1000 && (record?.outputTokens ?? 0) < 1010)
    assert.equal(stats.held, 0)
  })
}

test('slow and pace wait before every piece, by the schedule that was given', async (t) => {
  const delays: number[] = []
  const paced = await startSimulator({
    schedule: (task, delayMs) => {
      delays.push(delayMs)
      queueMicrotask(task)
      return () => undefined
    },
  })
  t.after(() => paced.close())
  for (const steering of ['slow', 'pace=7']) {
    const answer = await fetch(`${paced.baseUrl('openai')}/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer test', 'x-mesh-simulate': steering },
      body: JSON.stringify({ ...requests.openai.body, ...stream }),
    })
    await answer.text()
  }
  assert.deepEqual([...new Set(delays)], [200, 7])
  assert.ok(delays.length > 20)
})

test('a closed simulator leaves no connection open, whatever was going on', async () => {
  const closing = await startSimulator()
  const body = JSON.stringify({ ...requests.openai.body, stream: true })
  const outcomes = ['timeout', 'stall', 'hold'].map((steering) =>
    fetch(`${closing.baseUrl('openai')}/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer test', 'x-mesh-simulate': steering },
      body,
    }).then(read, () => ({ cut: true })),
  )
  await closing.until(
    (stats) => stats.running === 3 && stats.held === 1 && stats.records[1]?.outputTokens !== 0,
  )
  await closing.close()
  for (const outcome of await Promise.all(outcomes)) assert.equal(outcome.cut, true)
  await closing.until((stats) => stats.running === 0)
  await assert.rejects(new Promise((resolve, reject) => get(closing.url, resolve).on('error', reject)))
})

test('a taken port is an error, not a silence', async () => {
  await assert.rejects(startSimulator({ port: Number(new URL(simulator.url).port) }), { code: 'EADDRINUSE' })
})
