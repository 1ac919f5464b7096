import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startSimulator } from '@mesh/simulator/server.ts'
import OpenAI from 'openai'
import { startTestRouter } from './support/test-router.ts'

const NOVA = 'mesh/nova-2-lite'
const HELLO = [{ role: 'user' as const, content: 'Hello' }]

/** The same host stands in for AWS's. It looks at what of a signature can be seen without its secret key. */
for (const [name, credential] of [
  ['a bearer token', { AWS_BEARER_TOKEN_BEDROCK: 'simulated' }],
  [
    'a temporary access key',
    { AWS_ACCESS_KEY_ID: 'AKIA', AWS_SECRET_ACCESS_KEY: 'simulated', AWS_SESSION_TOKEN: 'simulated' },
  ],
] as const) {
  test(`a live call reaches Bedrock with ${name}, streamed and not`, async (t) => {
    const upstream = await startSimulator()
    t.after(() => upstream.close())
    const environment = {
      ...credential,
      AWS_REGION: 'eu-west-1',
      MESH_AMAZON_BEDROCK_BASE_URL: upstream.baseUrl('amazon-bedrock'),
    }
    const router = await startTestRouter({ environment })
    t.after(() => router.stop())
    const account = await router.account({ creditUsd: '1.00', livemode: true })
    const client = new OpenAI({ baseURL: router.baseUrl, apiKey: account.key, maxRetries: 0 })
    const whole = await client.chat.completions.create({ model: NOVA, messages: HELLO })
    assert.match(whole.choices[0]?.message.content ?? '', /^Simulated answer/)
    const llama = { model: 'mesh/llama-4-scout', messages: HELLO, stream: true as const }
    let text = ''
    for await (const chunk of await client.chat.completions.create(llama)) {
      text += chunk.choices[0]?.delta.content ?? ''
    }
    // A cross-region profile is called by the geography of the operator's region.
    assert.match(text, /^Simulated answer from eu\.meta\.llama4-scout/)
    const { completed, refused } = upstream.stats()
    assert.deepEqual([completed, refused], [2, 0])
  })
}

test('an image that only has a URL is sent to nobody who fetches none', async (t) => {
  const router = await startTestRouter()
  t.after(() => router.stop())
  const { key } = await router.account()
  const image = { type: 'image_url', image_url: { url: 'https://example.com/x.png' } }
  const messages = [{ role: 'user', content: [{ type: 'text', text: 'What is it?' }, image] }]
  const refused = await router.request('POST', '/v1/chat/completions', {
    key,
    body: { model: NOVA, messages },
  })
  assert.equal(refused.status, 404, refused.text)
  assert.deepEqual(refused.json.error.metadata.excluded_by, ['modality'])
  const bytes = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }
  const body = {
    model: NOVA,
    messages: [{ role: 'user', content: [{ type: 'text', text: 'And this?' }, bytes] }],
  }
  assert.equal((await router.request('POST', '/v1/chat/completions', { key, body })).status, 200)
})
