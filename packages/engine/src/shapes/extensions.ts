import { parsePricePerMillion } from '@mesh/catalog/money.ts'
import * as z from 'zod'
import type { PrivacyRequest, RouteRequest } from '../ask.ts'
import { CHAT_BOUNDS } from './bounds.ts'

/**
 * What MESH adds to a request, the same in every shape: who may answer, in which order, and how private the call is.
 * Nothing in it is content. Custom messages are whole predicates, as in every schema of a shape.
 */

const modelName = z.string().min(1).max(CHAT_BOUNDS.modelCharactersMax)

const providerIds = z
  .array(z.string().min(1).max(CHAT_BOUNDS.providerCharactersMax).toLowerCase())
  .max(CHAT_BOUNDS.providersMax)
  .nullish()

/** USD per million tokens. A number is read by its shortest decimal form: money is never computed with it. */
const maxPrice = z
  .union([z.string(), z.number()])
  .transform((price, context) => {
    const pico = parsePricePerMillion(String(price))
    if (pico !== undefined) return pico
    context.addIssue({
      code: 'custom',
      message: 'must be USD per million tokens, a decimal number with at most 6 places',
    })
    return z.NEVER
  })
  .nullish()

/** `provider`. Members that MESH does not know are dropped, and named in `routing.dropped_params`. */
export const providerPreferences = z.object({
  order: providerIds,
  only: providerIds,
  ignore: providerIds,
  allow_fallbacks: z.boolean().nullish(),
  require_parameters: z.boolean().nullish(),
  sort: z.enum(['price', 'throughput', 'latency']).nullish(),
  max_price: z.object({ prompt: maxPrice, completion: maxPrice }).nullish(),
  data_collection: z.enum(['allow', 'deny']).nullish(),
  zdr: z.boolean().nullish(),
})

/** `privacy` is strict: a privacy wish that MESH does not know must not be dropped in silence. */
const privacy = z.strictObject({
  mode: z.enum(['standard', 'protected', 'mesh']).nullish(),
  min_class: z.enum(['standard', 'protected', 'private_gateway', 'confidential']).nullish(),
  padding: z.enum(['off', 'bucket', 'fixed']).nullish(),
})

export const metadata = z
  .record(
    z.string().max(CHAT_BOUNDS.metadataKeyCharactersMax),
    z.string().max(CHAT_BOUNDS.metadataValueCharactersMax),
  )
  .refine((pairs) => Object.keys(pairs).length <= CHAT_BOUNDS.metadataPairsMax, {
    error: `must have at most ${CHAT_BOUNDS.metadataPairsMax} pairs`,
  })

/** For the schema of every shape: `parameters.extend(extensions.shape)`. */
export const extensions = z.object({
  model: modelName.nullish(),
  models: z.array(modelName).max(CHAT_BOUNDS.modelsMax).nullish(),
  route: z.enum(['fallback', 'auto']).nullish(),
  provider: providerPreferences.nullish(),
  privacy: privacy.nullish(),
  session_id: z.string().max(CHAT_BOUNDS.sessionIdCharactersMax).nullish(),
})

export type Extensions = z.output<typeof extensions>

/** What a caller names who says `route: "auto"` and no model. */
const AUTO = 'auto'

/** The first choice first. Whoever names models is served by none but those, whatever he says in `route`. */
export function modelsAsked({ model, models, route }: Extensions): readonly string[] {
  const named = [model, ...(models ?? [])].filter((name) => typeof name === 'string')
  if (named.length === 0 && route === AUTO) return [AUTO]
  return [...new Set(named)]
}

/** How the caller wants the call routed. The session id is a stand-in for the caller's. */
export function toRoute(
  { provider, session_id: sessionId }: Extensions,
  models: readonly string[],
  sessionPseudonym: (id: string) => string,
): RouteRequest {
  const maxInputPricePico = provider?.max_price?.prompt
  const maxOutputPricePico = provider?.max_price?.completion
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

export function toPrivacy(asked: Extensions['privacy']): PrivacyRequest {
  return {
    mode: asked?.mode ?? 'standard',
    ...(asked?.min_class ? { minClass: asked.min_class } : {}),
    padding: asked?.padding ?? 'off',
  }
}
