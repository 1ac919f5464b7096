import assert from 'node:assert/strict'
import { assertRecordsAgree, bookOf, chunksOf, holdsOf, nano } from './calls.ts'
import { newCanary } from './canary-search.ts'
import { answerOf, type Dialect, FALLBACK, type Mark, wholeBody } from './hostile-answers.ts'
import {
  type RawRequest,
  type RawUpstream,
  type Script,
  startRawUpstream,
  type Wire,
} from './raw-upstream.ts'
import type { TestDatabase } from './test-database.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './test-router.ts'

/** In every provider-made string that is no content. */
const UPSTREAM_NOISE = 'UPSTREAM-NOISE'
const CREDENTIAL = 'sk-credential-of-the-router'

/** What a script of a hostile provider works with. */
export interface Stage {
  readonly wire: Wire
  readonly request: RawRequest
  readonly dialect: Dialect
  /** Whether the provider was asked to stream. */
  readonly streamed: boolean
  /** An echo of the caller's prompt, in words of the provider's own. */
  readonly noise: string
  /** Resolves when the caller has seen content; at once where he sees none before the end. */
  readonly seen: Promise<void>
}

export interface HostileCall {
  readonly dialect: Dialect
  /** Whether the caller streams. */
  readonly stream: boolean
  /** Whether another model may answer instead. */
  readonly fallback?: boolean
  readonly more?: Readonly<Record<string, unknown>>
  readonly play: (stage: Stage) => Promise<void> | void
}

export interface HostileAnswer {
  readonly status: number
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of a body is what it asserts
  readonly json: any
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of a chunk is what it asserts
  readonly chunks: any[]
  readonly content: string
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of an event is what it asserts
  readonly event: any
  readonly chargedNano: bigint
}

export interface HostileWorld {
  readonly mesh: TestRouter
  readonly upstream: RawUpstream
  /** Makes a live call that `play` answers, and asserts what holds for every call whatever is played. */
  call(account: TestAccount, call: HostileCall): Promise<HostileAnswer>
  account(creditUsd?: string): Promise<TestAccount>
  /** Asserts that an account has paid `chargedNano` in all and that nothing of it is held. */
  assertBook(account: TestAccount, chargedNano: bigint): Promise<void>
  stop(): Promise<void>
}

const CREDIT_USD = '20.00'

export interface HostileSetup {
  readonly policy?: object
  /** Shares the database of another world. */
  readonly on?: TestDatabase
  /** More settings, once the port of the scripts is known. */
  readonly environment?: (port: number) => Readonly<Record<string, string>>
}

/** A router whose live providers are scripts. */
export async function startHostileWorld(setup: HostileSetup = {}): Promise<HostileWorld> {
  const { policy = {}, on, environment = () => ({}) } = setup
  const scripts = new Map<string, Script>()
  const upstream = await startRawUpstream((request) => {
    if (request.host === FALLBACK.provider) return answerAsFallback
    return scripts.get(/CNRY-\w+/.exec(request.body)?.[0] ?? '') ?? ((wire) => wire.reset())
  })
  const mesh = await startTestRouter({
    // Every script is to be heard, however often those before it failed.
    policy: { providers: { keepAway: false, probes: false }, ...policy },
    ...(on ? { on } : {}),
    environment: {
      OPENAI_API_KEY: CREDENTIAL,
      ANTHROPIC_API_KEY: CREDENTIAL,
      DEEPINFRA_API_KEY: CREDENTIAL,
      MESH_OPENAI_BASE_URL: upstream.baseUrl('openai'),
      MESH_ANTHROPIC_BASE_URL: upstream.baseUrl('anthropic'),
      MESH_DEEPINFRA_BASE_URL: upstream.baseUrl('deepinfra'),
      ...environment(upstream.port),
    },
  })

  async function call(account: TestAccount, hostile: HostileCall): Promise<HostileAnswer> {
    const { dialect, stream, fallback = false, more = {}, play } = hostile
    const canary = newCanary()
    const noise = `${UPSTREAM_NOISE} ${canary}`
    const { promise: seen, resolve: onSeen } = Promise.withResolvers<void>()
    if (!stream) onSeen()
    scripts.set(canary, (wire, request) => {
      const streamed = JSON.parse(request.body).stream === true
      return play({ wire, request, dialect, streamed, noise, seen })
    })
    const body = {
      model: dialect.model,
      messages: [{ role: 'user', content: `Say it. ${canary}` }],
      stream,
      ...(fallback
        ? { models: [FALLBACK.model], route: 'fallback' }
        : { provider: { allow_fallbacks: false } }),
      ...more,
    }
    const response = await fetch(`${mesh.baseUrl}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const text = await readAnswer(response, onSeen)
    scripts.delete(canary)
    const id = response.headers.get('x-request-id') ?? ''
    const event = await assertRecordsAgree(mesh, account, id)
    const receipt = await mesh.request('GET', `/v1/receipts/${event.receiptId}`, { key: account.key })
    assertSilent([...response.headers].join('\n'), canary, 'headers')
    assertSilent(text, canary, 'answer')
    assertSilent(JSON.stringify(event), canary, 'event')
    assertSilent(receipt.text, canary, 'receipt')
    const chunks = text.startsWith('{') ? [] : chunksOf(text)
    for (const chunk of chunks) assert.equal(chunk.id, id)
    const json = text.startsWith('{') ? JSON.parse(text) : undefined
    const chargedNano = nano(event.cost.totalUsd)
    assert.ok(chargedNano >= 0n)
    if (chargedNano > 0n) {
      const priceNano = priceOf(event.tokens, receipt.json.receipt)
      const heldNano = nano(event.cost.heldUsd)
      assert.equal(chargedNano, priceNano < heldNano ? priceNano : heldNano)
    }
    const content = json
      ? (json.choices?.[0]?.message.content ?? '')
      : chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')
    assertUnmixed(text)
    return { status: response.status, text, json, chunks, content, event, chargedNano }
  }

  return {
    mesh,
    upstream,
    call,
    account: (creditUsd = CREDIT_USD) => mesh.account({ livemode: true, creditUsd }),
    async assertBook({ id }, chargedNano) {
      assert.deepEqual(await bookOf(mesh.database, id, true), {
        balanceNano: nano(CREDIT_USD) - chargedNano,
        heldNano: 0n,
      })
      assert.equal(await holdsOf(mesh.database, id), 0)
    },
    async stop() {
      const lines = JSON.stringify(mesh.logged)
      await mesh.stop()
      await upstream.close()
      for (const word of ['CNRY-', UPSTREAM_NOISE, CREDENTIAL])
        assert.ok(!lines.includes(word), `${word} was logged`)
      // What ends a call from within is a fault of the engine, never of a provider.
      assert.doesNotMatch(lines, /failed inside the engine/)
    },
  }
}

const answerAsFallback: Script = async (wire, { body }) => {
  const streamed = JSON.parse(body).stream === true
  await wire.write(answerOf(wholeBody(FALLBACK, { mark: 'OMEGA', streamed, noise: UPSTREAM_NOISE })))
  wire.end()
}

async function readAnswer(response: Response, onSeen: () => void): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes, { stream: true })
    if (text.includes('ALPHA')) onSeen()
  }
  return text
}

function assertSilent(text: string, canary: string, where: string): void {
  for (const word of [canary, UPSTREAM_NOISE, CREDENTIAL])
    assert.ok(!text.includes(word), `${word} is in the ${where}`)
}

/** An answer has one upstream's bytes, whatever became of it. */
function assertUnmixed(text: string): void {
  const marks = (['ALPHA', 'OMEGA'] satisfies Mark[]).filter((mark) => text.includes(mark))
  assert.ok(marks.length <= 1, `bytes of ${marks.join(' and ')} are in one answer`)
}

interface PricedReceipt {
  readonly pricesUsdPerMillion: Readonly<Record<string, string>>
}

/** What tokens cost at a receipt's own prices: an exact sum, rounded up once. A USD a million is a pico-USD a token, times 10^6. */
function priceOf(tokens: Readonly<Record<string, number>>, { pricesUsdPerMillion }: PricedReceipt): bigint {
  const pico = Object.entries(tokens)
    .filter(([, count]) => count > 0)
    .reduce((sum, [bucket, count]) => sum + BigInt(count) * picoOf(pricesUsdPerMillion[bucket] ?? ''), 0n)
  return (pico + 999n) / 1_000n
}

function picoOf(usdPerMillion: string): bigint {
  const [whole = '', fraction = ''] = usdPerMillion.split('.')
  assert.ok(fraction.length <= 6 && whole !== '', `${usdPerMillion} is no price`)
  return BigInt(`${whole}${fraction.padEnd(6, '0')}`)
}
