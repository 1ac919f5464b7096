import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type Simulator, startSimulator } from '@mesh/simulator/server.ts'
import OpenAI from 'openai'
import { z } from 'zod'
import { assertRecordsAgree, nano } from './support/calls.ts'
import { startTestRouter } from './support/test-router.ts'

/** The call that the product's own page shows, word for word. */
const SEED = {
  model: 'mesh/claude-sonnet-4.5',
  models: ['mesh/claude-opus-4.6', 'mesh/llama-4-maverick'],
  route: 'fallback',
  messages: [{ role: 'user' as const, content: 'hello' }],
  response_format: { type: 'json_object' as const },
  privacy: { mode: 'mesh' },
  stream: true as const,
}

/** What each of its models is at the provider that serves it here, with the list price in pico-USD a token. */
const SERVED = {
  'mesh/claude-sonnet-4.5': {
    provider: 'anthropic',
    upstreamModel: 'claude-sonnet-4-5-20250929',
    inputPico: 3_000_000n,
    outputPico: 15_000_000n,
  },
  'mesh/claude-opus-4.6': {
    provider: 'anthropic',
    upstreamModel: 'claude-opus-4-6',
    inputPico: 5_000_000n,
    outputPico: 25_000_000n,
  },
  'mesh/llama-4-maverick': {
    provider: 'deepinfra',
    upstreamModel: 'meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8',
    inputPico: 150_000n,
    outputPico: 600_000n,
  },
} as const
type SeedModel = keyof typeof SERVED

const MARKUP_BASIS_POINTS = 550
const CREDENTIALS = { ANTHROPIC_API_KEY: 'sk-ant-simulated', DEEPINFRA_API_KEY: 'simulated' }

const closing = z.object({
  id: z.string(),
  model: z.string(),
  provider: z.string(),
  usage: z.object({
    cost: z.number(),
    cost_details: z.object({ upstream_cost: z.string(), margin: z.string(), total: z.string() }),
  }),
  routing: z.looseObject({
    requested: z.array(z.string()),
    selected: z.object({ model: z.string(), provider: z.string() }),
    chain: z.array(z.looseObject({ model: z.string(), outcome: z.string() })),
    privacy: z.looseObject({ requested: z.string(), sealed: z.string(), reason: z.string() }),
  }),
})

/** The providers, of which some models are overloaded. */
async function startProviders(simulator: Simulator, overloaded: ReadonlySet<string>) {
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    if (overloaded.has(JSON.parse(body).model)) {
      response.writeHead(503, { 'content-type': 'application/json' })
      response.end('{"error":{"type":"overloaded_error","message":"Overloaded"}}')
      return
    }
    const { host: _, connection: __, 'content-length': ___, ...headers } = request.headers
    const answer = await fetch(`${simulator.url}${request.url}`, {
      method: 'POST',
      headers: headers as Record<string, string>,
      body,
    })
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
    for await (const chunk of answer.body ?? []) response.write(chunk)
    response.end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const at = (baseUrl: string): string => baseUrl.replace(simulator.url, `http://127.0.0.1:${port}`)
  return {
    environment: {
      MESH_ANTHROPIC_BASE_URL: at(simulator.baseUrl('anthropic')),
      MESH_DEEPINFRA_BASE_URL: at(simulator.baseUrl('deepinfra')),
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function startMesh(t: TestContext, overloaded: ReadonlySet<string>) {
  const simulator = await startSimulator()
  t.after(() => simulator.close())
  const providers = await startProviders(simulator, overloaded)
  t.after(() => providers.close())
  const mesh = await startTestRouter({
    environment: { ...CREDENTIALS, ...providers.environment },
    policy: {
      pricing: { markupBasisPoints: MARKUP_BASIS_POINTS },
      // Each of the three is asked anew, however often it has failed before.
      providers: { keepAway: false, probes: false },
    },
  })
  t.after(() => mesh.stop())
  return mesh
}

/** What so many tokens of a model cost, and what they are sold for, in nano-USD. */
function priceOf(model: SeedModel, tokens: Readonly<Record<string, number>>) {
  const { input = 0, output = 0, ...others } = tokens
  assert.equal(Object.values(others).find(Boolean), undefined, 'nothing but text went in and came out')
  const { inputPico, outputPico } = SERVED[model]
  const sold = (pico: bigint): bigint => (pico * BigInt(10_000 + MARKUP_BASIS_POINTS)) / 10_000n
  const nanoOf = (pico: bigint): bigint => (pico + 999n) / 1_000n
  return {
    upstreamNano: nanoOf(BigInt(input) * inputPico + BigInt(output) * outputPico),
    totalNano: nanoOf(BigInt(input) * sold(inputPico) + BigInt(output) * sold(outputPico)),
  }
}

test("the seed's call is answered by each of its three models in turn, as JSON and at that model's price", async (t) => {
  const overloaded = new Set<string>()
  const mesh = await startMesh(t, overloaded)
  const account = await mesh.account({ creditUsd: '50.00', livemode: true })
  const client = new OpenAI({ baseURL: mesh.baseUrl, apiKey: account.key, maxRetries: 0 })
  const asked = Object.keys(SERVED) as SeedModel[]

  for (const [position, model] of asked.entries()) {
    const { provider, upstreamModel } = SERVED[model]
    const { data, response } = await client.chat.completions.create(SEED).withResponse()
    let text = ''
    let finishReason: string | null | undefined
    let last: unknown
    for await (const chunk of data) {
      assert.equal(chunk.model, model)
      text += chunk.choices[0]?.delta.content ?? ''
      finishReason = chunk.choices[0]?.finish_reason
      last = chunk
    }
    assert.equal(JSON.parse(text).model, upstreamModel)
    assert.equal(finishReason, 'stop')
    assert.equal(response.headers.get('x-mesh-model'), model)
    assert.equal(response.headers.get('x-mesh-provider'), provider)
    assert.match(response.headers.get('x-mesh-privacy') ?? '', /^requested=mesh; .*reason=cleartext-to-edge/)

    const said = closing.parse(last)
    assert.deepEqual(said.routing.requested, asked)
    assert.deepEqual(said.routing.selected, { model, provider })
    assert.deepEqual(
      said.routing.chain.map((attempt) => [attempt.model, attempt.outcome]),
      asked.slice(0, position + 1).map((each) => [each, each === model ? 'served' : 'refused_unbilled']),
    )

    const event = await assertRecordsAgree(mesh, account, said.id)
    assert.equal(event.modelRequested, SEED.model)
    assert.equal(event.modelServed, model)
    assert.equal(event.provider, provider)
    assert.equal(event.billingReason, 'completed')
    const { json } = await mesh.request('GET', `/v1/receipts/${event.receiptId}`, { key: account.key })
    const { receipt } = json
    assert.equal(receipt.modelRequested, SEED.model)
    assert.equal(receipt.modelServed, model)
    assert.equal(receipt.provider, provider)
    const { upstreamNano, totalNano } = priceOf(model, receipt.tokens)
    assert.ok(totalNano > 0n)
    assert.equal(nano(receipt.upstreamCostUsd), upstreamNano)
    assert.equal(nano(receipt.totalUsd), totalNano)
    assert.equal(nano(said.usage.cost_details.total), totalNano)
    assert.equal(said.usage.cost, Number(said.usage.cost_details.total))

    overloaded.add(upstreamModel)
  }
})
