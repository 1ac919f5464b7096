import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import {
  answerOf,
  DIALECTS,
  type Dialect,
  FALLBACK,
  headOf,
  INPUT_TOKENS,
  OUTPUT_TOKENS,
  PIECES,
  wholeBody,
} from './support/hostile-answers.ts'
import {
  type HostileAnswer,
  type HostileWorld,
  type Stage,
  startHostileWorld,
} from './support/hostile-calls.ts'
import type { TestAccount } from './support/test-router.ts'
import { until } from './support/until.ts'

/*
 * Answers that are strange and whole all the same, and the ends of those that would never end. What is strange is
 * taken for what it is: the caller gets the answer, exactly once, at its exact price, and nothing that came beside it.
 */

let world: HostileWorld
let account: TestAccount
before(async () => {
  world = await startHostileWorld({
    environment: (port) => ({
      GROQ_API_KEY: 'sk-any',
      FIREWORKS_API_KEY: 'sk-any',
      TINFOIL_API_KEY: 'sk-any',
      // A port that nobody listens on, a name that nobody has, and a server that speaks no TLS.
      MESH_GROQ_BASE_URL: 'http://127.0.0.1:1/openai/v1',
      MESH_FIREWORKS_BASE_URL: 'http://nowhere.invalid/v1',
      MESH_TINFOIL_BASE_URL: `https://127.0.0.1:${port}/v1`,
    }),
  })
  account = await world.account()
})
after(() => world.stop())

interface Oddity {
  readonly name: string
  /** The bytes of the answer, head and all. */
  readonly bytes: (stage: Stage) => string | Uint8Array
  /** Which answers can be so odd. */
  readonly of: 'streams' | 'documents' | 'both'
}

function body({ dialect, streamed, noise }: Pick<Stage, 'dialect' | 'streamed' | 'noise'>): string {
  return wholeBody(dialect, { mark: 'ALPHA', streamed, noise })
}

/** The same answer with other bytes. */
function rewritten(rewrite: (body: string, stage: Stage) => string | Uint8Array): Oddity['bytes'] {
  return (stage) => answerOf(rewrite(body(stage), stage))
}

const DEEP = `${'{"0":['.repeat(50_000)}1${']}'.repeat(50_000)}`
const MEGABYTE = 'x'.repeat(1024 * 1024)
const BYTE_ORDER_MARK = '\ufeff'

const ODDITIES: readonly Oddity[] = [
  {
    name: 'lines that end in CR alone',
    of: 'streams',
    bytes: rewritten((text) => text.replaceAll('\n', '\r')),
  },
  {
    name: 'lines that end in CR LF',
    of: 'streams',
    bytes: rewritten((text) => text.replaceAll('\n', '\r\n')),
  },
  { name: 'a byte order mark', of: 'both', bytes: rewritten((text) => BYTE_ORDER_MARK + text) },
  {
    name: 'blank lines that keep it open',
    of: 'both',
    bytes: rewritten((text) => '\n'.repeat(10_000) + text),
  },
  {
    name: 'HTTP/1.0, ended by its connection',
    of: 'both',
    bytes: (stage) => `HTTP/1.0 200 OK\r\n\r\n${body(stage)}`,
  },
  {
    name: 'a wrong content type',
    of: 'both',
    bytes: (stage) => answerOf(body(stage), { 'content-type': 'text/html; charset=utf-7' }),
  },
  {
    name: 'heads that inform, before its own',
    of: 'both',
    bytes: (stage) =>
      Buffer.concat([
        Buffer.from('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'.repeat(20)),
        answerOf(body(stage)),
      ]),
  },
  {
    name: 'a document where a stream was asked for, and a stream where a document was',
    of: 'both',
    bytes: ({ dialect, streamed, noise }) => answerOf(body({ dialect, streamed: !streamed, noise })),
  },
  {
    name: 'data after the terminal event',
    of: 'streams',
    bytes: rewritten(
      (text, { dialect }) => text + dialect.piece('OMEGA ') + dialect.errorEvent('late') + text,
    ),
  },
  {
    name: 'two terminal events',
    of: 'streams',
    bytes: rewritten((text, { dialect }) => text + dialect.terminal),
  },
  {
    name: 'ten thousand pieces with nothing in them',
    of: 'streams',
    bytes: rewritten((text, { dialect }) =>
      text.replace(dialect.piece('ALPHA '), (piece) => dialect.emptyPiece.repeat(10_000) + piece),
    ),
  },
  {
    name: 'comments between all events',
    of: 'streams',
    bytes: rewritten((text, { noise }) => text.replaceAll('\n\n', `\n\n: ${noise}\n\n`)),
  },
  {
    name: 'ids and models of a megabyte, with the prompt and control characters in them',
    of: 'both',
    bytes: ({ dialect, streamed, noise }) =>
      answerOf(body({ dialect, streamed, noise: `${noise}\r\n\u0000\u001b[31m${MEGABYTE}` })),
  },
  {
    name: 'a reason to finish that nobody knows, with the prompt in it',
    of: 'both',
    bytes: rewritten((text, { noise }) =>
      text.replaceAll(/"(stop|end_turn)"/g, JSON.stringify(`${noise}\n\u0000`)),
    ),
  },
  {
    name: 'members that nobody knows, nested a hundred thousand deep',
    of: 'both',
    bytes: rewritten((text) => text.replaceAll('"id":', `"unknown":${DEEP},"id":`)),
  },
  {
    name: 'log probabilities that nobody asked for, with the prompt beside them',
    of: 'both',
    bytes: rewritten((text, { noise }) =>
      text.replaceAll(
        '"finish_reason"',
        `"logprobs":{"echo":"${noise}","deep":${DEEP},"content":null},"finish_reason"`,
      ),
    ),
  },
  {
    name: 'every member twice',
    of: 'both',
    bytes: rewritten((text) =>
      text
        .replaceAll('"content":"ALPHA', '"content":"OMEGA","content":"ALPHA')
        .replaceAll('"text":"ALPHA', '"text":"OMEGA","text":"ALPHA'),
    ),
  },
]

function assertWhole({ status, content, event, chunks, json }: HostileAnswer): void {
  assert.equal(status, 200)
  assert.equal(content, 'ALPHA '.repeat(PIECES))
  assert.equal(json ? json.choices[0].finish_reason : chunks.at(-1).choices[0].finish_reason, 'stop')
  assert.deepEqual([event.tokens.input, event.tokens.output], [INPUT_TOKENS, OUTPUT_TOKENS])
  assert.deepEqual([event.billingReason, event.usageFlags, event.finishReason], ['completed', [], 'stop'])
  assert.deepEqual(
    event.attempts.map(({ outcome }: { outcome: string }) => outcome),
    ['served'],
  )
}

suite('an answer with', { concurrency: 6 }, () => {
  for (const { name, bytes, of } of ODDITIES) {
    for (const dialect of DIALECTS) {
      test(`${dialect.provider}: ${name}`, async () => {
        for (const stream of [true, false]) {
          if (of !== 'both' && (of === 'streams') !== stream) continue
          const answer = await world.call(account, {
            dialect,
            stream,
            fallback: true,
            more: { max_tokens: 200 },
            async play(stage) {
              await stage.wire.write(bytes(stage))
              stage.wire.end()
            },
          })
          assertWhole(answer)
        }
      })
    }
  }

  for (const dialect of DIALECTS) {
    test(`${dialect.provider}: bytes that are no UTF-8, and halves of characters`, async () => {
      for (const stream of [true, false]) {
        const { content, event } = await world.call(account, {
          dialect,
          stream,
          more: { max_tokens: 200 },
          async play({ wire, streamed, noise }) {
            const [before = '', after = ''] = wholeBody(dialect, {
              mark: 'ALPHA',
              streamed,
              noise,
              pieces: 1,
            }).split('ALPHA ')
            const bytes = Buffer.concat([
              Buffer.from(`${before}ALPHA \\ud800`),
              Buffer.from([0xff, 0xc3]),
              Buffer.from(after),
            ])
            await wire.write(answerOf(bytes))
            wire.end()
          },
        })
        assert.equal(content, 'ALPHA \ud800\ufffd\ufffd')
        assert.equal(event.billingReason, 'completed')
      }
    })
  }
})

/** Says the same again and again, as fast as it is taken, until nobody listens. */
function withoutEnd(piece: (dialect: Dialect) => string) {
  return async ({ wire, dialect, noise }: Stage): Promise<void> => {
    await wire.write(headOf(200) + dialect.opening(noise))
    while (await wire.write(piece(dialect))) {
      // Until the other side has had enough.
    }
  }
}

/** An output that was allowed, in tokens, and the most bytes that so many tokens can be. */
const ALLOWED = 50
const BYTES_MOST = ALLOWED * 128

for (const dialect of DIALECTS) {
  test(`${dialect.provider}: a stream that never ends is stopped at max_tokens, and no more is charged`, async () => {
    const piece = 'ALPHA '.repeat(16)
    const { status, chunks, content, event } = await world.call(account, {
      dialect,
      stream: true,
      fallback: true,
      more: { max_tokens: ALLOWED },
      play: withoutEnd(() => dialect.piece(piece)),
    })
    assert.equal(status, 200)
    assert.ok(
      content.length > BYTES_MOST - piece.length && content.length <= BYTES_MOST + piece.length,
      `${content.length}`,
    )
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'length')
    assert.deepEqual(
      [event.tokens.output, event.billingReason, event.finishReason],
      [ALLOWED, 'estimated_usage', 'length'],
    )
    assert.ok(event.usageFlags.includes('exceeds_cap'))
  })

  test(`${dialect.provider}: without max_tokens it is stopped at what the model can say, or at the end of credit`, async () => {
    const poor = await world.account('0.05')
    const { status, chunks, event, chargedNano } = await world.call(poor, {
      dialect,
      stream: true,
      play: withoutEnd(() => dialect.piece('ALPHA '.repeat(4_000))),
    })
    assert.equal(status, 200)
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'length')
    assert.ok(chargedNano > 0n && chargedNano <= 50_000_000n)
    const stopped = { openai: 'estimated_usage', anthropic: 'credit_cutoff' }
    assert.equal(event.billingReason, stopped[dialect.provider as 'openai' | 'anthropic'])
  })

  test(`${dialect.provider}: an answer in one piece beyond its cap is none, so another answers`, async () => {
    const { content, event } = await world.call(account, {
      dialect,
      stream: false,
      fallback: true,
      more: { max_tokens: ALLOWED },
      async play({ wire, noise }) {
        await wire.write(
          answerOf(wholeBody(dialect, { mark: 'ALPHA', streamed: false, noise, pieces: 2_000 })),
        )
        wire.end()
      },
    })
    assert.equal(content, 'OMEGA '.repeat(PIECES))
    assert.deepEqual([event.attempts[0].outcome, event.attempts[0].reason], ['uncertain', 'oversized'])
  })

  test(`${dialect.provider}: a request that is itself at fault is tried nowhere else, and told in our words`, async () => {
    const { status, json, event } = await world.call(account, {
      dialect,
      stream: true,
      fallback: true,
      async play({ wire, noise }) {
        const text = dialect.errorBody(noise)
        await wire.write(
          headOf(400, { 'content-length': String(Buffer.byteLength(text)), 'retry-after': noise }) + text,
        )
        wire.end()
      },
    })
    assert.deepEqual([status, json.error.code, event.attempts.length], [400, 'invalid_request', 1])
    assert.equal(event.billingReason, 'upstream_error_not_billed')
  })

  test(`${dialect.provider}: peer bug 15 (litellm#19077): without fallbacks nobody else is asked, before content or after`, async () => {
    for (const after of [false, true]) {
      const asked = world.upstream.requests.get(FALLBACK.provider) ?? 0
      const { content, event, status, chunks } = await world.call(account, {
        dialect,
        stream: true,
        more: { models: [FALLBACK.model], provider: { allow_fallbacks: false } },
        async play({ wire, noise, seen }) {
          await wire.write(headOf(200) + dialect.opening(noise) + (after ? dialect.piece('ALPHA ') : ''))
          if (after) await seen
          await wire.write(dialect.errorEvent(noise))
          wire.end()
        },
      })
      assert.deepEqual([status, content], after ? [200, 'ALPHA '] : [502, ''])
      if (after) assert.equal(chunks.at(-1).error.code, 'provider_error')
      assert.equal(event.attempts.length, 1)
      assert.equal(world.upstream.requests.get(FALLBACK.provider) ?? 0, asked)
    }
  })

  test(`${dialect.provider}: a second answer on a connection is nobody's, least of all the next caller's`, async () => {
    const play = (twice: boolean) => async (stage: Stage) => {
      const { dialect, streamed, noise } = stage
      const stray = wholeBody(dialect, { mark: 'OMEGA', streamed, noise })
      const head = { connection: 'keep-alive' }
      const answer = answerOf(body(stage), head)
      await stage.wire.write(twice ? Buffer.concat([answer, answerOf(stray, head)]) : answer)
    }
    for (const twice of [true, false]) {
      assertWhole(await world.call(account, { dialect, stream: true, play: play(twice) }))
    }
  })

  test(`${dialect.provider}: an answer that is shorter than it was is cut where its length says`, async () => {
    const { event, content } = await world.call(account, {
      dialect,
      stream: false,
      fallback: true,
      async play(stage) {
        await stage.wire.write(
          headOf(200, { 'content-length': '40', connection: 'keep-alive' }) + body(stage),
        )
      },
    })
    assert.equal(event.attempts[0].outcome, 'uncertain')
    assert.equal(content, 'OMEGA '.repeat(PIECES))
  })
}

test('providers that cannot be reached were never asked: the next one answers, and nothing is absorbed', async () => {
  const body = {
    model: 'mesh/gpt-oss-120b',
    messages: [{ role: 'user', content: 'hello' }],
    provider: { order: ['groq', 'fireworks', 'tinfoil', 'deepinfra'] },
  }
  for (const stream of [true, false]) {
    const answer = await world.mesh.request('POST', '/v1/chat/completions', {
      key: account.key,
      body: { ...body, stream },
    })
    assert.equal(answer.status, 200, answer.text)
    assert.ok(answer.text.includes('OMEGA'))
    const id = answer.headers.get('x-request-id')
    const { json } = await world.mesh.request('GET', `/v1/logs/${id}`, { key: account.key })
    assert.deepEqual(
      json.attempts.map(
        ({ provider, outcome, reason }: Record<string, string>) => `${provider} ${reason ?? outcome}`,
      ),
      ['groq connect_failed', 'fireworks connect_failed', 'tinfoil connect_failed', 'deepinfra served'],
    )
    const { rows } = await world.mesh.database.pool.query('select absorbed_nano from events where id = $1', [
      id,
    ])
    assert.equal(BigInt(rows[0].absorbed_nano), 0n)
  }
})

test('in the end nothing is held, and no connection to a provider is open', async () => {
  await until('every connection to the providers is closed', () => world.upstream.open === 0)
  const { rows } = await world.mesh.database.pool.query('select count(*)::int as holds from holds')
  assert.equal(rows[0].holds, 0)
})
