import type { Endpoint, ModelId, ProviderId } from '@mesh/catalog/catalog.ts'
import type { PriceSchedule, Rates } from '@mesh/catalog/price.ts'
import type { Ask, AskShape, RouteRequest } from '../../src/ask.ts'
import type { Candidate } from '../../src/plan.ts'

export function exampleRates(inputPico: bigint, outputPico: bigint): Rates {
  return {
    input: inputPico,
    cacheRead: inputPico / 10n,
    cacheWrite5m: (inputPico * 5n) / 4n,
    cacheWrite1h: inputPico * 2n,
    inputAudio: inputPico,
    inputImage: inputPico,
    output: outputPico,
    reasoning: outputPico,
    outputAudio: outputPico,
    outputImage: outputPico,
  }
}

export function examplePrices(inputPico = 1_000_000n, outputPico = 5_000_000n): PriceSchedule {
  return { rates: exampleRates(inputPico, outputPico), tiers: [], windows: [] }
}

export function exampleEndpoint(
  model: ModelId,
  provider: ProviderId,
  changes: Partial<Endpoint> = {},
): Endpoint {
  return {
    id: `${model}@${provider}`,
    model,
    provider,
    upstreamModel: model.slice('mesh/'.length),
    protocol: 'openai_chat',
    contextTokens: 100_000,
    outputTokensMax: 10_000,
    inputModalities: ['text'],
    supportedParameters: ['max_tokens', 'tools'],
    emulatedParameters: [],
    reasoningOptions: [],
    prices: examplePrices(),
    cancelStopsBilling: true,
    dataPolicy: { retention: 'unknown', training: 'unknown' },
    ...changes,
  }
}

export function exampleCandidate(
  provider: ProviderId,
  changes: Partial<Endpoint> = {},
  model: ModelId = 'mesh/one',
): Candidate {
  const endpoint = exampleEndpoint(model, provider, changes)
  return { endpoint, sellPrices: endpoint.prices, inputTokensMax: 1_000 }
}

export function exampleAsk(changes: Partial<Ask> = {}): Ask {
  return {
    messages: [{ role: 'user', parts: [{ type: 'text', text: 'hello' }] }],
    tools: [],
    stop: [],
    choices: 1,
    extras: {},
    stream: true,
    usageChunk: false,
    ...changes,
  }
}

export function exampleShape(changes: Partial<AskShape> = {}): AskShape {
  return {
    inputTokensBound: {
      textTokens: 400,
      textBytes: 370,
      messages: 1,
      images: 0,
      files: 0,
      audioSeconds: 0,
    },
    choices: 1,
    modalities: { image: false, file: false, audio: false },
    parameters: [],
    ...changes,
  }
}

export function exampleRoute(changes: Partial<RouteRequest> = {}): RouteRequest {
  return {
    models: [],
    allowFallbacks: true,
    order: [],
    only: [],
    ignore: [],
    requireParameters: false,
    denyDataCollection: false,
    zeroDataRetention: false,
    ...changes,
  }
}
