import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import OpenAI from 'openai'
import { startSimulator } from '../server.ts'

const simulator = await startSimulator()
after(() => simulator.close())

// As Azure's own pages tell people to set the client up: the resource's URL, the key in its own header.
const client = new OpenAI({
  apiKey: 'unused',
  baseURL: simulator.baseUrl('azure'),
  defaultHeaders: { authorization: null, 'api-key': 'test' },
  maxRetries: 0,
})
const messages = [{ role: 'user' as const, content: 'Hello there' }]

function steered(steering: string, model = 'gpt-4.1') {
  return client.chat.completions.create({ model, messages }, { headers: { 'x-mesh-simulate': steering } })
}

/** What Azure adds to OpenAI's types. */
interface Filtered {
  readonly prompt_filter_results?: readonly { readonly content_filter_results: object }[]
  readonly content_filter_results?: object
}

test('an answer carries what the content filter found, in the prompt and in each choice', async () => {
  const answer = await client.chat.completions.create({ model: 'gpt-4.1', messages })
  assert.match(answer.choices[0]?.message.content ?? '', /^Simulated answer from gpt-4.1/)
  const [prompt] = (answer as Filtered).prompt_filter_results ?? []
  assert.deepEqual(Object.keys(prompt?.content_filter_results ?? {}), [
    'hate',
    'self_harm',
    'sexual',
    'violence',
    'jailbreak',
  ])
  assert.ok((answer.choices[0] as Filtered | undefined)?.content_filter_results)
})

test('a stream begins with a chunk that has no choices, and is put together all the same', async () => {
  const request = {
    model: 'gpt-5-mini',
    messages,
    stream: true,
    stream_options: { include_usage: true },
  } as const
  const chunks = []
  for await (const chunk of await client.chat.completions.create(request)) chunks.push(chunk)
  assert.deepEqual(chunks[0]?.choices, [])
  assert.ok((chunks[0] as Filtered | undefined)?.prompt_filter_results)
  assert.ok((chunks.at(-1)?.usage?.completion_tokens_details?.reasoning_tokens ?? 0) > 0)
  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')
  assert.match(text, /^Simulated answer/)
})

test('a tool is called, at a model of OpenAI and at one of another maker', async () => {
  const tool = {
    type: 'function',
    function: { name: 'look', parameters: { type: 'object', properties: {} } },
  } as const
  for (const model of ['gpt-5-mini', 'deepseek-v3.2', 'llama-4-maverick-17b-128e-instruct-fp8']) {
    const stream = client.chat.completions.stream({ model, messages, tools: [tool] })
    const [choice] = (await stream.finalChatCompletion()).choices
    assert.equal(choice?.finish_reason, 'tool_calls', model)
    assert.equal(choice?.message.tool_calls?.length, 1, model)
  }
})

test("errors are Azure's own: of the filter, of the quota, of a deployment that is not there", async () => {
  await assert.rejects(steered('content_filter'), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError)
    assert.equal(error.code, 'content_filter')
    const { innererror } = error.error as { readonly innererror: { readonly code: string } }
    assert.equal(innererror.code, 'ResponsibleAIPolicyViolation')
    return true
  })
  await assert.rejects(steered('rate_limit'), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError)
    assert.equal(error.headers.get('retry-after-ms'), '1000')
    assert.equal(error.code, '429')
    return true
  })
  await assert.rejects(steered('', 'mesh/gpt-4.1'), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError)
    assert.equal(error.code, 'DeploymentNotFound')
    return true
  })
  await assert.rejects(steered('overloaded'), OpenAI.InternalServerError)
  await assert.rejects(client.models.list(), OpenAI.NotFoundError)
  const stranger = new OpenAI({
    apiKey: 'unused',
    baseURL: simulator.baseUrl('azure'),
    defaultHeaders: { authorization: null },
    maxRetries: 0,
  })
  await assert.rejects(
    stranger.chat.completions.create({ model: 'gpt-4.1', messages }),
    OpenAI.AuthenticationError,
  )
  // A key as a bearer token is taken too.
  const bearer = new OpenAI({ apiKey: 'test', baseURL: simulator.baseUrl('azure') })
  assert.ok((await bearer.chat.completions.create({ model: 'gpt-4.1', messages })).choices[0])
})

test('elsewhere a filtered prompt is one that the model declines', async () => {
  const openai = new OpenAI({ apiKey: 'test', baseURL: simulator.baseUrl('openai') })
  const answer = await openai.chat.completions.create(
    { model: 'gpt-4.1', messages },
    { headers: { 'x-mesh-simulate': 'content_filter' } },
  )
  assert.match(answer.choices[0]?.message.refusal ?? '', /sorry/)
})
