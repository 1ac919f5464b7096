import type { Endpoint, EndpointId, Model, ProtocolName } from '@mesh/catalog/catalog.ts'
import { formatPricePerMillion, type PicoUsd } from '@mesh/catalog/money.ts'
import type { PriceSchedule, Rates } from '@mesh/catalog/price.ts'
import type { PriceList } from '@mesh/catalog/price-list.ts'
import type { EndpointHealth } from '@mesh/engine/endpoint-health.ts'
import { classInTheClear } from '@mesh/engine/privacy-class.ts'

export interface ModelViewContext {
  readonly prices: PriceList
  readonly protocolBuilt: (protocol: ProtocolName) => boolean
  /** How an endpoint did lately in the live world, where that is known. */
  readonly healthOf: (endpoint: EndpointId) => EndpointHealth | undefined
}

/** A model as `GET /v1/models` lists it: OpenAI's fields, then OpenRouter's, then MESH's own. */
export function modelView(model: Model, context: ModelViewContext): Record<string, unknown> {
  const usable = model.endpoints.filter((endpoint) => context.protocolBuilt(endpoint.protocol))
  const shown = cheapest(usable.length > 0 ? usable : model.endpoints, context.prices)
  return {
    id: model.id,
    object: 'model',
    created: Math.floor(Date.parse(`${model.releaseDate}T00:00:00Z`) / 1000),
    owned_by: model.vendor,
    type: 'model',
    kind: model.kind,
    name: model.name,
    canonical_slug: model.id,
    aliases: model.aliases,
    context_length: model.contextTokens,
    architecture: { input_modalities: model.inputModalities, output_modalities: model.outputModalities },
    capabilities: model.capabilities,
    quality: model.quality ?? null,
    pricing: shown ? pricingOf(context.prices.sell.get(shown.id)?.rates) : null,
    top_provider: shown
      ? { context_length: shown.contextTokens, max_completion_tokens: shown.outputTokensMax }
      : null,
    supported_parameters: shown ? [...shown.supportedParameters, ...shown.emulatedParameters] : [],
    providers: model.endpoints.map(({ provider }) => provider),
    ...availability(model, usable),
  }
}

/** One endpoint of a model as `GET /v1/models/{id}/endpoints` lists it. */
export function endpointView(endpoint: Endpoint, context: ModelViewContext): Record<string, unknown> {
  const built = context.protocolBuilt(endpoint.protocol)
  const prices = context.prices.sell.get(endpoint.id)
  const { confidential } = endpoint
  return {
    id: endpoint.id,
    provider: endpoint.provider,
    model: endpoint.model,
    upstream_model: endpoint.upstreamModel,
    protocol: endpoint.protocol,
    context_length: endpoint.contextTokens,
    max_completion_tokens: endpoint.outputTokensMax,
    supported_parameters: endpoint.supportedParameters,
    emulated_parameters: endpoint.emulatedParameters,
    input_modalities: endpoint.inputModalities,
    pricing: pricingOf(prices?.rates),
    pricing_exceptions: prices ? exceptionsOf(prices) : [],
    cancel_stops_billing: endpoint.cancelStopsBilling,
    data_policy: endpoint.dataPolicy,
    privacy: {
      in_the_clear: classInTheClear(endpoint, true),
      ceiling: confidential ? 'confidential' : 'private_gateway',
      confidential_host: confidential ?? null,
    },
    health: healthView(context.healthOf(endpoint.id)),
    available: built,
    ...(built ? {} : { unavailable_reason: notBuilt(endpoint.protocol) }),
  }
}

function healthView(health: EndpointHealth | undefined): Record<string, unknown> | null {
  if (!health) return null
  return {
    breaker: health.breaker,
    success_rate: health.successRate,
    first_token_ms_p50: health.firstTokenMsP50 ?? null,
    tokens_per_second_p50: health.tokensPerSecondP50 ?? null,
  }
}

function availability(model: Model, usable: readonly Endpoint[]): Record<string, unknown> {
  if (usable.length > 0) return { available: true }
  const protocols = [...new Set(model.endpoints.map(({ protocol }) => protocol))]
  return { available: false, unavailable_reason: notBuilt(protocols.join(', ')) }
}

function notBuilt(protocols: string): string {
  return `MESH does not speak this provider's protocol yet: ${protocols}.`
}

function cheapest(endpoints: readonly Endpoint[], prices: PriceList): Endpoint | undefined {
  const blended = (endpoint: Endpoint): PicoUsd => {
    const rates = prices.sell.get(endpoint.id)?.rates
    return rates ? rates.input * 3n + rates.output : 0n
  }
  return [...endpoints].sort((a, b) => {
    const [left, right] = [blended(a), blended(b)]
    if (left !== right) return left < right ? -1 : 1
    return a.id < b.id ? -1 : 1
  })[0]
}

/** Prices in USD: a token's, as OpenRouter's clients read them, and a million tokens', as people do. */
function pricingOf(rates: Rates | undefined): Record<string, unknown> | null {
  if (!rates) return null
  return {
    prompt: perToken(rates.input),
    completion: perToken(rates.output),
    input_cache_read: perToken(rates.cacheRead),
    input_cache_write: perToken(rates.cacheWrite5m),
    usd_per_million: {
      input: formatPricePerMillion(rates.input),
      output: formatPricePerMillion(rates.output),
      cache_read: formatPricePerMillion(rates.cacheRead),
      cache_write_5m: formatPricePerMillion(rates.cacheWrite5m),
      cache_write_1h: formatPricePerMillion(rates.cacheWrite1h),
    },
  }
}

/** Where and when other prices hold: beyond a size of the input, or at a time of day. */
function exceptionsOf({ tiers, windows }: PriceSchedule): Record<string, unknown>[] {
  return [
    ...tiers.map(({ aboveInputTokens, rates }) => ({
      above_input_tokens: aboveInputTokens,
      ...pricingOf(rates),
    })),
    ...windows.map(({ fromMinute, untilMinute, rates }) => ({
      from_utc: timeOfDay(fromMinute),
      until_utc: timeOfDay(untilMinute),
      ...pricingOf(rates),
    })),
  ]
}

function timeOfDay(minutes: number): string {
  const twoDigits = (value: number): string => String(value).padStart(2, '0')
  return `${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}`
}

function perToken(price: PicoUsd): string {
  const fraction = (price % 1_000_000_000_000n).toString().padStart(12, '0').replace(/0+$/, '')
  return `${price / 1_000_000_000_000n}${fraction === '' ? '' : `.${fraction}`}`
}
