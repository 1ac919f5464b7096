import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask } from '../src/ask.ts'

const FREE = {
  input: 0n,
  cacheRead: 0n,
  cacheWrite5m: 0n,
  cacheWrite1h: 0n,
  inputAudio: 0n,
  inputImage: 0n,
  output: 0n,
  reasoning: 0n,
  outputAudio: 0n,
  outputImage: 0n,
}

/** An endpoint that takes everything, but for what a test says otherwise. */
export function testEndpoint(overrides: Partial<Endpoint>): Endpoint {
  return {
    id: 'mesh/test@openai',
    model: 'mesh/test',
    provider: 'openai',
    upstreamModel: 'test-1',
    protocol: 'openai_chat',
    contextTokens: 100_000,
    outputTokensMax: 10_000,
    inputModalities: ['text', 'image', 'file', 'audio'],
    supportedParameters: [
      'max_tokens',
      'stop',
      'stream',
      'temperature',
      'top_p',
      'tools',
      'tool_choice',
      'reasoning',
      'response_format.json_object',
      'response_format.json_schema',
    ],
    emulatedParameters: [],
    reasoningOptions: [],
    prices: { rates: FREE, tiers: [], windows: [] },
    cancelStopsBilling: true,
    dataPolicy: { retention: 'none', training: 'no' },
    ...overrides,
  }
}

/** The smallest ask, and what a test adds to it. */
export function testAsk(additions: Partial<Ask> = {}): Ask {
  return {
    messages: [{ role: 'user', parts: [{ type: 'text', text: 'Hello' }] }],
    tools: [],
    stop: [],
    choices: 1,
    extras: {},
    stream: false,
    usageChunk: false,
    ...additions,
  }
}
