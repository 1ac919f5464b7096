import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import OpenAI from 'openai'
import { startTestRouter } from './support/test-router.ts'

/** What a server says where Responses are spoken. */
const responseOf = (model: string) => ({
  ...{ id: 'resp_1', object: 'response', created_at: 1, status: 'completed', model },
  output: [
    {
      ...{ type: 'message', id: 'msg_1', status: 'completed', role: 'assistant' },
      content: [{ type: 'output_text', text: 'At home.', annotations: [] }],
    },
  ],
  usage: {
    ...{ input_tokens: 10, output_tokens: 5, total_tokens: 15 },
    input_tokens_details: { cached_tokens: 0 },
    output_tokens_details: { reasoning_tokens: 0 },
  },
})

/** A server of the operator's own that speaks OpenAI's chat completions, as vLLM and Ollama do. */
async function startOwnServer() {
  const asked: { headers: IncomingHttpHeaders; body: { model: string; cache_salt?: string } }[] = []
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const body = JSON.parse(text)
    asked.push({ headers: request.headers, body })
    response.writeHead(200, { 'content-type': 'application/json' })
    if (request.url?.endsWith('/responses')) {
      response.end(JSON.stringify(responseOf(body.model)))
      return
    }
    response.end(
      JSON.stringify({
        id: 'own-1',
        object: 'chat.completion',
        created: 1,
        model: body.model,
        choices: [{ index: 0, message: { role: 'assistant', content: 'At home.' }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
      }),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    asked,
    baseUrl: `http://127.0.0.1:${port}/v1`,
    close: () => new Promise((resolve) => server.close(resolve)),
  }
}

test("an operator's own models, deployments and contracts are served, priced and explained as all others are", async (t) => {
  const server = await startOwnServer()
  const withKey = { provider: 'own-keyed', upstreamModel: 'small', prices: { input: '1', output: '2' } }
  const mesh = await startTestRouter({
    environment: {
      OWN_KEYED_KEY: 'sk-own',
      AZURE_API_KEY: 'sk-azure',
      MESH_AZURE_BASE_URL: server.baseUrl,
    },
    policy: {
      pricing: { markupBasisPoints: 0 },
      catalog: {
        providers: [
          { id: 'own-open', baseUrl: server.baseUrl },
          { id: 'own-keyed', baseUrl: server.baseUrl, credentialVariable: 'OWN_KEYED_KEY' },
        ],
        models: [
          {
            id: 'mesh/own-llama',
            contextTokens: 32_000,
            otherNames: ['llama-at-home'],
            endpoints: [{ provider: 'own-open', upstreamModel: 'big', prices: { input: '2', output: '4' } }],
          },
          { id: 'mesh/own-small', contextTokens: 8_000, endpoints: [withKey] },
        ],
        endpoints: { 'mesh/gpt-5-mini@azure': { upstreamModel: 'prod-mini' } },
        retention: {
          azure: { retention: 'none', training: 'no', source: 'Contract 17', date: '2026-05-01' },
          'own-open': {
            ...{ retention: 'none', training: 'no', source: 'It is ours', date: '2026-05-01' },
            promptCache: 'cache_salt',
          },
          'own-keyed': { retention: 'none', training: 'no', source: 'Contract 18', date: '2026-05-01' },
        },
      },
    },
  })
  t.after(async () => {
    await mesh.stop()
    await server.close()
  })
  const live = await mesh.account({ livemode: true })
  const client = new OpenAI({ baseURL: mesh.baseUrl, apiKey: live.key, maxRetries: 0 })
  const ask = async (model: string, more: object = {}) =>
    client.chat.completions.create({
      model,
      max_tokens: 50,
      messages: [{ role: 'user', content: 'Where are you?' }],
      ...more,
    })

  const answer = await ask('llama-at-home')
  assert.equal(answer.choices[0]?.message.content, 'At home.')
  assert.equal(answer.model, 'mesh/own-llama')
  // 10 tokens at 2 USD a million and 5 at 4: 40 millionths.
  assert.equal(JSON.parse(JSON.stringify(answer.usage)).cost_details.total, '0.000040000')
  assert.deepEqual([server.asked[0]?.body.model, server.asked[0]?.headers.authorization], ['big', undefined])

  await ask('mesh/own-small')
  assert.equal(server.asked[1]?.headers.authorization, 'Bearer sk-own')

  const { data } = await client.chat.completions
    .create({
      model: 'mesh/gpt-5-mini',
      max_tokens: 50,
      messages: [{ role: 'user', content: 'Hello' }],
      // @ts-expect-error what MESH adds to OpenAI's parameters
      privacy: { mode: 'protected', min_class: 'protected' },
    })
    .withResponse()
  assert.equal(server.asked[2]?.body.model, 'prod-mini')
  assert.equal(JSON.parse(JSON.stringify(data)).routing.privacy.class, 'protected')

  const floor = { privacy: { min_class: 'protected' } }
  await ask('llama-at-home', floor)
  const salts = [0, 3].map((index) => server.asked[index]?.body.cache_salt)
  assert.match(String(salts[0]), /^[\w-]{32}$/)
  assert.equal(salts[1], salts[0], 'one account, one salt')
  await assert.rejects(ask('mesh/own-small', floor), ({ code, error }) => {
    assert.deepEqual([code, error.metadata.excluded_by], ['privacy_unavailable', ['shared_cache']])
    return true
  })

  const { json: models } = await mesh.request('GET', '/v1/models/mesh%2Fown-llama')
  assert.equal(models.id, 'mesh/own-llama')
  // A simulator of it there is not, so a test key cannot have it, and is told so.
  const tester = await mesh.account()
  const refused = await mesh.request('POST', '/v1/chat/completions', {
    key: tester.key,
    body: { model: 'mesh/own-llama', messages: [{ role: 'user', content: 'Hello' }] },
  })
  assert.deepEqual([refused.status, refused.json.error.code], [404, 'no_endpoint'])
  const { json: configs } = await mesh.request('GET', '/v1/providers/config', {
    key: 'test-admin-key-0123456789-0123456789',
  })
  const own = configs.data.find(({ provider }: { provider: string }) => provider === 'own-open')
  assert.equal(own.hasCredential, true)
})

for (const protocol of ['openai_chat', 'openai_responses'] as const) {
  test(`an own model at Azure is shown the key as Azure wants it, in ${protocol} too`, async (t) => {
    const server = await startOwnServer()
    const mesh = await startTestRouter({
      environment: { AZURE_API_KEY: 'sk-azure', MESH_AZURE_BASE_URL: server.baseUrl },
      policy: {
        catalog: {
          models: [
            {
              id: 'mesh/own-gpt',
              contextTokens: 32_000,
              endpoints: [
                {
                  provider: 'azure',
                  upstreamModel: 'our-gpt',
                  protocol,
                  prices: { input: '2', output: '4' },
                },
              ],
            },
          ],
        },
      },
    })
    t.after(async () => {
      await mesh.stop()
      await server.close()
    })
    const { key } = await mesh.account({ livemode: true })
    const { status, json, text } = await mesh.request('POST', '/v1/chat/completions', {
      key,
      body: { model: 'mesh/own-gpt', max_tokens: 50, messages: [{ role: 'user', content: 'Hello' }] },
    })
    assert.equal(status, 200, text)
    assert.equal(json.choices[0].message.content, 'At home.')
    const headers = server.asked[0]?.headers
    assert.deepEqual([headers?.['api-key'], headers?.authorization], ['sk-azure', undefined])
  })
}
