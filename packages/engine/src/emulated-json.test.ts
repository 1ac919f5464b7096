import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { testAsk, testEndpoint } from '../test/endpoints.ts'
import { emulatedFormat } from './emulated-json.ts'
import { protocolFor } from './protocols/registry.ts'

const JSON_TAKEN = ['tools', 'tool_choice', 'response_format.json_object', 'response_format.json_schema']
const BUDGET: Endpoint['reasoningOptions'] = [{ type: 'budget_tokens', min: 1, max: 9_000 }]
const LEVELS: Endpoint['reasoningOptions'] = [{ type: 'effort', values: ['low', 'high'] }]

const CASES: readonly (readonly [name: string, endpoint: Partial<Endpoint>, besideTools: boolean])[] = [
  ['Cohere', { protocol: 'cohere_v2' }, true],
  ['the second Gemini', { protocol: 'gemini', reasoningOptions: BUDGET }, true],
  ['the third Gemini', { protocol: 'gemini', reasoningOptions: LEVELS }, false],
  ['OpenAI', { protocol: 'openai_chat', provider: 'openai' }, false],
]

for (const [name, changes, besideTools] of CASES) {
  test(`whether ${name} is asked in words for JSON beside tools is known: ${besideTools}`, () => {
    const endpoint = testEndpoint({ supportedParameters: JSON_TAKEN, ...changes })
    const responseFormat = { type: 'json_object' } as const
    const tools = [{ name: 'look' }]
    assert.equal(emulatedFormat(testAsk({ responseFormat }), endpoint), undefined)
    const known = emulatedFormat(testAsk({ responseFormat, tools }), endpoint)
    assert.deepEqual(known, besideTools ? responseFormat : undefined)
    const protocol = protocolFor(endpoint.protocol)
    const request = protocol?.encode(testAsk({ responseFormat, tools }), endpoint, { stream: false })
    assert.equal(request?.body.includes('exactly one JSON object'), besideTools)
  })
}
