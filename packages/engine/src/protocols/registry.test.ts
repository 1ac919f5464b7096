import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { testAsk } from '../../test/endpoints.ts'
import type { Ask } from '../ask.ts'
import { anthropicMessages } from './anthropic-messages.ts'
import { bedrockConverse } from './bedrock-converse.ts'
import { gemini } from './gemini.ts'
import { geminiEmbed } from './gemini-embed.ts'
import { openaiChat } from './openai-chat.ts'
import { protocolFor } from './registry.ts'

test('the protocols that are built are found by their catalogue names', () => {
  assert.equal(protocolFor('openai_chat'), openaiChat)
  assert.equal(protocolFor('anthropic_messages'), anthropicMessages)
  assert.equal(protocolFor('bedrock_converse'), bedrockConverse)
  assert.equal(protocolFor('azure_openai'), openaiChat)
  assert.equal(protocolFor('gemini'), gemini)
  assert.equal(protocolFor('gemini_embed'), geminiEmbed)
})

const TOOLS: Ask['tools'] = [{ name: 'look' }]
/** An ask for each parameter of which a protocol can say that it takes it. */
const ASKS: Readonly<Record<string, Partial<Ask>>> = {
  temperature: { temperature: 0.5 },
  top_p: { topP: 0.5 },
  top_k: { topK: 5 },
  stop: { stop: ['end'] },
  n: { choices: 2 },
  tools: { tools: TOOLS },
  tool_choice: { tools: TOOLS, toolChoice: 'required' },
  parallel_tool_calls: { tools: TOOLS, parallelToolCalls: false },
  reasoning: { reasoning: { effort: 'medium' } },
  seed: { extras: { seed: 7 } },
  logit_bias: { extras: { logit_bias: { '5': 1 } } },
  logprobs: { extras: { logprobs: true } },
  frequency_penalty: { extras: { frequency_penalty: 1 } },
  repetition_penalty: { extras: { repetition_penalty: 1 } },
  min_p: { extras: { min_p: 0.1 } },
  top_a: { extras: { top_a: 0.1 } },
  verbosity: { extras: { verbosity: 'low' } },
  prompt_cache_key: { extras: { prompt_cache_key: 'key' } },
}

/** What is asked for in the others' words is no conversation. */
function chatEndpoints(): readonly Endpoint[] {
  const chats = loadCatalog().models.filter(({ kind }) => kind === 'chat')
  return chats.flatMap(({ endpoints }) => endpoints)
}

test('a protocol takes a parameter at an endpoint exactly where its encoder does not drop it', () => {
  const endpoints = chatEndpoints()
  let compared = 0
  for (const endpoint of endpoints) {
    const protocol = protocolFor(endpoint.protocol)
    if (!protocol) continue
    for (const [parameter, additions] of Object.entries(ASKS)) {
      // Without tools there is nothing to call in parallel, and nothing to say about it.
      if (parameter === 'parallel_tool_calls' && !protocol.takes(endpoint, 'tools')) continue
      const { droppedParameters } = protocol.encode(testAsk(additions), endpoint, { stream: false })
      assert.equal(
        protocol.takes(endpoint, parameter),
        !droppedParameters.includes(parameter),
        `${parameter} at ${endpoint.id}`,
      )
      compared += 1
    }
  }
  assert.ok(compared > 500)
})

test('a protocol says how many answers it asks for', () => {
  let dropping = 0
  let taking = 0
  const ask = testAsk({ choices: 3 })
  for (const endpoint of chatEndpoints()) {
    const protocol = protocolFor(endpoint.protocol)
    if (!protocol) continue
    const { body, droppedParameters } = protocol.encode(ask, endpoint, { stream: false })
    const asked = protocol.choices(ask, endpoint)
    const sent = JSON.parse(body)
    assert.equal(asked, sent.n ?? sent.generationConfig?.candidateCount ?? 1, endpoint.id)
    assert.equal(droppedParameters.includes('n'), asked === 1, endpoint.id)
    assert.equal(protocol.choices(testAsk(), endpoint), 1)
    if (asked === 1) dropping += 1
    else taking += 1
  }
  assert.ok(dropping > 0 && taking > 0)
})
