import type { RouteRequest } from '../../ask.ts'
import type { ChatParameters } from './schema.ts'

/** How the caller wants the call routed. Nothing in it is content: the session id is a stand-in for the caller's. */
export function toRoute(
  parameters: ChatParameters,
  models: readonly string[],
  sessionPseudonym: (id: string) => string,
): RouteRequest {
  const provider = parameters.provider
  const maxInputPricePico = provider?.max_price?.prompt
  const maxOutputPricePico = provider?.max_price?.completion
  const sessionId = parameters.session_id
  return {
    models,
    allowFallbacks: provider?.allow_fallbacks ?? true,
    order: provider?.order ?? [],
    only: provider?.only ?? [],
    ignore: provider?.ignore ?? [],
    requireParameters: provider?.require_parameters ?? false,
    ...(provider?.sort ? { sort: provider.sort } : {}),
    ...(typeof maxInputPricePico === 'bigint' ? { maxInputPricePico } : {}),
    ...(typeof maxOutputPricePico === 'bigint' ? { maxOutputPricePico } : {}),
    denyDataCollection: provider?.data_collection === 'deny',
    zeroDataRetention: provider?.zdr ?? false,
    ...(typeof sessionId === 'string' ? { sessionId: sessionPseudonym(sessionId) } : {}),
  }
}
