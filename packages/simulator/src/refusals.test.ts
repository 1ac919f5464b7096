import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type JsonObject, objectAt, parseJson, textAt } from './json.ts'
import type { SimulatedProvider } from './providers.ts'
import { startSimulator } from './server.ts'

const simulator = await startSimulator()
after(() => simulator.close())

const headers = { authorization: 'Bearer test', 'x-api-key': 'test', 'anthropic-version': '2023-06-01' }

async function send(
  provider: SimulatedProvider,
  body: object | string,
  sent: Record<string, string> = headers,
) {
  const path = provider === 'anthropic' ? '/v1/messages' : '/chat/completions'
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const answer = await fetch(simulator.baseUrl(provider) + path, {
    method: 'POST',
    headers: sent,
    body: text,
  })
  const json = parseJson(await answer.text())
  const reply: JsonObject =
    typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as JsonObject) : {}
  return { status: answer.status, json: reply, error: objectAt(reply, 'error') }
}

const hello = { role: 'user', content: 'Hello' }
const call = { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{}' } }
const tool = { type: 'function', function: { name: 'look', parameters: { type: 'object', properties: {} } } }
const result = { role: 'tool', tool_call_id: 'call_1', content: 'seen' }
const image = { type: 'image_url', image_url: { url: 'ftp://example.com/x.png' } }
const openSchema = { type: 'object', properties: { city: { type: 'string' } } }

/** What OpenAI refuses: the change to a good request, and what the error says. */
const chatFaults: readonly (readonly [
  change: object,
  param: string | null,
  code: string | null,
  message: RegExp,
])[] = [
  [{ model: '' }, null, null, /must provide a model/],
  [{ messages: undefined }, 'messages', 'missing_required_parameter', /Missing required/],
  [{ messages: [] }, 'messages', 'empty_array', /empty array/],
  [{ messages: [{ role: 'robot', content: 'x' }] }, 'messages[0].role', 'invalid_value', /Supported values/],
  [{ messages: [{ role: 'user', content: null }] }, 'messages[0].content', null, /got null/],
  [
    { messages: [{ role: 'user', content: [image] }] },
    'messages[0].content[0].image_url',
    'invalid_image_url',
    /image/,
  ],
  [{ messages: [hello, result] }, 'messages.[1].role', null, /must be a response/],
  [{ messages: [hello, { role: 'assistant', content: null }] }, 'messages[1].content', null, /got null/],
  [
    { messages: [hello, { role: 'assistant', tool_calls: [call] }, hello] },
    'messages.[2].role',
    null,
    /call_1/,
  ],
  [{ messages: [hello, { role: 'assistant', tool_calls: [call] }] }, 'messages.[2].role', null, /call_1/],
  [{ made_up: 1 }, null, null, /Unrecognized request argument supplied: made_up/],
  [{ max_tokens: 5, max_completion_tokens: 5 }, null, 'invalid_parameter_combination', /same time/],
  [{ max_tokens: 0 }, 'max_tokens', 'integer_below_min_value', /minimum/],
  [{ max_tokens: 99_999 }, 'max_tokens', 'invalid_value', /too large/],
  [{ model: 'gpt-5-mini', max_tokens: 5 }, 'max_tokens', 'unsupported_parameter', /max_completion_tokens/],
  [{ model: 'o4-mini', temperature: 0.5 }, 'temperature', 'unsupported_value', /default/],
  [{ model: 'o4-mini', logprobs: true }, 'logprobs', 'unsupported_parameter', /not supported/],
  [{ model: 'gpt-5-mini', reasoning_effort: 'none' }, 'reasoning_effort', 'unsupported_value', /minimal/],
  [{ reasoning_effort: 'low' }, null, null, /reasoning_effort/],
  [{ temperature: 3 }, 'temperature', 'decimal_above_max_value', /above/],
  [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop', 'array_above_max_length', /length 5/],
  [{ stream_options: { include_usage: true } }, 'stream_options', null, /stream/],
  [{ metadata: { a: 'b' } }, 'metadata', null, /store/],
  [{ tool_choice: 'auto' }, 'tool_choice', null, /tools/],
  [{ tools: [] }, 'tools', 'empty_array', /empty/],
  [
    { tools: [{ ...tool, function: { name: 'no spaces' } }] },
    'tools[0].function.name',
    'invalid_value',
    /pattern/,
  ],
  [
    { tools: [{ type: 'function', function: { name: 'f', parameters: openSchema, strict: true } }] },
    'tools[0].function.parameters',
    'invalid_function_parameters',
    /additionalProperties/,
  ],
  [
    { tools: [tool], tool_choice: { type: 'function', function: { name: 'g' } } },
    'tool_choice',
    null,
    /not found/,
  ],
  [{ response_format: { type: 'json_object' } }, 'messages', null, /word 'json'/],
  [
    {
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema: openSchema, strict: true } },
    },
    'response_format',
    null,
    /additionalProperties/,
  ],
]

test('OpenAI: every fault of a request is found, named and placed', async () => {
  const good = { model: 'gpt-4o-mini', messages: [hello] }
  assert.equal((await send('openai', good)).status, 200)
  for (const [change, param, code, message] of chatFaults) {
    const { status, error } = await send('openai', { ...good, ...change })
    const named = JSON.stringify(change)
    assert.equal(status, 400, named)
    assert.deepEqual([error.type, error.param, error.code], ['invalid_request_error', param, code], named)
    assert.match(textAt(error, 'message'), message)
  }
  const unknown = await send('openai', { ...good, model: 'mesh/gpt-4o-mini' })
  assert.deepEqual([unknown.status, unknown.error.code], [404, 'model_not_found'])
  const long = { ...good, messages: [{ role: 'user', content: 'x'.repeat(600_000) }] }
  assert.equal((await send('openai', long)).error.code, 'context_length_exceeded')
})

const use = { type: 'tool_use', id: 'toolu_1', name: 'look', input: {} }
const used = { role: 'assistant', content: [use] }
const seen = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'seen' }] }
const claudeTool = { name: 'look', input_schema: { type: 'object', properties: {} } }
const mark = { type: 'ephemeral' }
const marked = { type: 'text', text: 'x', cache_control: mark }

const messageFaults: readonly (readonly [change: object, message: RegExp])[] = [
  [{ model: undefined }, /^model: Field required$/],
  [{ max_tokens: undefined }, /^max_tokens: Field required$/],
  [{ max_tokens: 0 }, /greater than or equal to 1/],
  [{ max_tokens: 64_001 }, /64001 > 64000/],
  [{ messages: [] }, /at least one message/],
  [{ messages: [{ role: 'system', content: 'x' }] }, /Unexpected role "system"/],
  [{ messages: [{ role: 'tool', content: 'x' }] }, /Unexpected role/],
  [{ messages: [{ role: 'assistant', content: 'x' }, hello] }, /first message must use the "user" role/],
  [{ messages: [{ role: 'user', content: [] }] }, /non-empty content/],
  [{ messages: [{ role: 'user', content: [{ type: 'text', text: '' }] }] }, /must be non-empty/],
  [{ messages: [{ role: 'user', content: [image] }] }, /does not match any of the expected tags/],
  [{ messages: [hello, { role: 'assistant', content: 'x ' }] }, /trailing whitespace/],
  [{ model: 'claude-opus-4-6', messages: [hello, { role: 'assistant', content: 'x' }] }, /prefill/],
  [{ messages: [hello, used, hello] }, /without `tool_result` blocks immediately after: toolu_1/],
  [{ messages: [hello, seen] }, /unexpected `tool_use_id`/],
  [{ response_format: { type: 'json_object' } }, /^response_format: Extra inputs are not permitted$/],
  [{ temperature: 1.5 }, /range: 0..1/],
  [{ temperature: 0.5, top_p: 0.5 }, /cannot both/],
  [{ model: 'claude-opus-4-8', temperature: 0.5 }, /deprecated/],
  [{ thinking: { type: 'enabled', budget_tokens: 100 } }, /1024/],
  [{ thinking: { type: 'enabled', budget_tokens: 5000 } }, /max_tokens/],
  [{ thinking: { type: 'adaptive' } }, /not supported/],
  [{ model: 'claude-sonnet-5', thinking: { type: 'enabled', budget_tokens: 1024 } }, /adaptive/],
  [{ output_config: { effort: 'high' } }, /effort parameter/],
  [
    { model: 'claude-opus-4-6', output_config: { effort: 'xhigh' } },
    /Supported levels: high, low, max, medium/,
  ],
  [{ output_config: { format: { type: 'json_schema', schema: openSchema } } }, /additionalProperties/],
  [{ tools: [{ name: 'look' }] }, /input_schema: Field required/],
  [{ tools: [tool] }, /does not match/],
  [{ tool_choice: { type: 'auto' } }, /while providing tools/],
  [{ tools: [claudeTool], tool_choice: { type: 'required' } }, /expected tags/],
  [{ tools: [claudeTool], tool_choice: { type: 'tool', name: 'g' } }, /not found/],
  [
    { tools: [claudeTool], tool_choice: { type: 'any' }, thinking: { type: 'enabled', budget_tokens: 1024 } },
    /forces tool use/,
  ],
  [{ system: [marked, marked, marked, marked, marked] }, /maximum of 4 blocks/],
  [
    {
      system: [marked],
      messages: [{ role: 'user', content: [{ ...marked, cache_control: { ...mark, ttl: '1h' } }] }],
    },
    /must not come after/,
  ],
]

test('Anthropic: every fault of a request is found and named', async () => {
  const good = { model: 'claude-sonnet-4-5', max_tokens: 2000, messages: [hello] }
  assert.equal((await send('anthropic', good)).status, 200)
  assert.equal((await send('anthropic', { ...good, messages: [hello, used, seen] })).status, 200)
  for (const [change, message] of messageFaults) {
    const { status, json, error } = await send('anthropic', { ...good, ...change })
    const named = JSON.stringify(change)
    assert.equal(status, 400, named)
    assert.deepEqual([json.type, error.type], ['error', 'invalid_request_error'], named)
    assert.match(textAt(error, 'message'), message, named)
    assert.match(textAt(json, 'request_id'), /^req_/)
  }
  const unknown = await send('anthropic', { ...good, model: 'gpt-4o' })
  assert.deepEqual([unknown.status, unknown.error.message], [404, 'model: gpt-4o'])
  const long = { ...good, messages: [{ role: 'user', content: 'x'.repeat(900_000) }] }
  assert.match(
    textAt((await send('anthropic', long)).error, 'message'),
    /prompt is too long: \d+ tokens > 200000/,
  )
})

test('without its credential, a version, or JSON, each vendor refuses in its own words', async () => {
  const good = { model: 'gpt-4o-mini', messages: [hello] }
  assert.equal((await send('openai', good, {})).status, 401)
  assert.equal((await send('openai', good, { authorization: 'test' })).status, 401)
  assert.match(textAt((await send('openai', '{"model"')).error, 'message'), /could not parse/)
  const bare = await send('anthropic', {}, { 'anthropic-version': '2023-06-01' })
  assert.deepEqual([bare.status, bare.error.type], [401, 'authentication_error'])
  const versionless = await send('anthropic', {}, { 'x-api-key': 'test' })
  assert.match(textAt(versionless.error, 'message'), /anthropic-version/)
  assert.equal((await send('mistral', good, {})).json.detail, 'Unauthorized')
  const grok = await send('xai', { model: 'gpt-4o', messages: [hello] })
  assert.equal(typeof grok.json.error, 'string')
})

test('Mistral refuses fields that it does not know, foreign call ids, and a conversation that ends with itself', async () => {
  const good = { model: 'mistral-large-2512', messages: [hello] }
  assert.equal((await send('mistral', good)).status, 200)
  for (const extra of ['stream_options', 'max_completion_tokens', 'seed', 'user']) {
    const { status, json } = await send('mistral', { ...good, [extra]: 1 })
    assert.equal(status, 422)
    assert.match(JSON.stringify(json), new RegExp(`"extra_forbidden","loc":\\["body","${extra}"\\]`))
  }
  const named = await send('mistral', { ...good, messages: [{ ...hello, name: 'Ann' }] })
  assert.match(JSON.stringify(named.json), /"body","messages","0","user","name"/)
  const foreign = {
    ...good,
    messages: [hello, { role: 'assistant', content: '', tool_calls: [call] }, result],
  }
  assert.equal((await send('mistral', foreign)).json.code, '3280')
  const ended = await send('mistral', { ...good, messages: [hello, { role: 'assistant', content: 'x' }] })
  assert.equal(ended.json.code, '3230')
})

test('an unknown provider or route is 404, and is told from a known one', async () => {
  const route = await fetch(`${simulator.baseUrl('openai')}/completions`, { method: 'POST', body: '{}' })
  assert.equal(route.status, 404)
  assert.match(await route.text(), /Invalid URL \(POST \/openai\/v1\/completions\)/)
  const wrongBase = await fetch(`${simulator.url}/groq/v1/chat/completions`, { method: 'POST', body: '{}' })
  assert.equal(wrongBase.status, 404)
  for (const path of ['/', '/nobody/v2/chat', '/__proto__/v1/messages']) {
    assert.equal((await fetch(simulator.url + path, { method: 'POST', body: '{}' })).status, 404)
  }
})
