import assert from 'node:assert/strict'
import { test } from 'node:test'
import { anthropicMessages } from './anthropic-messages.ts'
import { openaiChat } from './openai-chat.ts'
import { protocolFor } from './registry.ts'

test('the protocols that are built are found by their catalogue names, the others are not there', () => {
  assert.equal(protocolFor('openai_chat'), openaiChat)
  assert.equal(protocolFor('anthropic_messages'), anthropicMessages)
  assert.equal(protocolFor('gemini'), undefined)
  assert.equal(protocolFor('azure_openai'), undefined)
})
