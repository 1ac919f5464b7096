import type { Catalog, ModelId, ProviderId } from '@mesh/catalog/catalog.ts'
import { fingerprint } from '@mesh/catalog/fingerprint.ts'
import type { JsonObject } from '@mesh/engine/ask.ts'
import type { Plan, PlanInput } from '@mesh/engine/plan.ts'
import { PRIVACY_CLASSES } from '@mesh/engine/privacy-class.ts'
import { z } from 'zod'

/** All of a plan's input that is not in its snapshot. */
export type PlanRequest = Pick<PlanInput, 'targets' | 'shape' | 'route' | 'policy'>

/** Stands for a provider that the caller named and that there is none of: its name is the caller's own text. */
const NO_PROVIDER = '?'

/**
 * What an event keeps of its plan, so that it can be made again: sizes, names of parameters and of providers that there
 * are, the session's stand-in, and no content. What is as usual is left out: an event of a plain call has some hundred bytes of it.
 */
export function recordOf(
  { shape, route, policy }: PlanRequest,
  isProvider: (id: ProviderId) => boolean,
  planned?: Plan,
): JsonObject {
  const { inputTokensBound: bound, modalities, reasoning } = shape
  const known = (names: readonly ProviderId[]): ProviderId[] =>
    names.map((name) => (isProvider(name) ? name : NO_PROVIDER))
  const sizes = [
    bound.textTokens,
    bound.textBytes,
    bound.messages,
    bound.images,
    bound.files,
    bound.audioSeconds,
  ]
  const media = MODALITIES.filter((name) => modalities[name])
  return {
    in: sizes,
    ...(shape.maxOutputTokens === undefined ? {} : { out: shape.maxOutputTokens }),
    ...(shape.choices === 1 ? {} : { n: shape.choices }),
    ...(media.length === 0 ? {} : { media }),
    ...(shape.parameters.length === 0 ? {} : { params: [...shape.parameters] }),
    ...(reasoning === undefined ? {} : { reasoning: { ...reasoning } }),
    ...(route.allowFallbacks ? {} : { alone: true }),
    ...(route.order.length === 0 ? {} : { order: known(route.order) }),
    ...(route.only.length === 0 ? {} : { only: known(route.only) }),
    ...(route.ignore.length === 0 ? {} : { ignore: known(route.ignore) }),
    ...(route.requireParameters ? { require: true } : {}),
    ...(route.sort === undefined ? {} : { sort: route.sort }),
    ...(route.sessionId === undefined ? {} : { session: route.sessionId }),
    ...(route.maxInputPricePico === undefined ? {} : { max_in: route.maxInputPricePico.toString() }),
    ...(route.maxOutputPricePico === undefined ? {} : { max_out: route.maxOutputPricePico.toString() }),
    ...(route.denyDataCollection ? { deny: true } : {}),
    ...(route.zeroDataRetention ? { zdr: true } : {}),
    ...(policy.allowedModels ? { models: [...policy.allowedModels].sort() } : {}),
    ...(policy.allowedProviders ? { providers: [...policy.allowedProviders].sort() } : {}),
    ...(policy.minimumPrivacyClass === undefined || policy.minimumPrivacyClass === 'standard'
      ? {}
      : { floor: policy.minimumPrivacyClass }),
    ...(planned ? { plan: candidatesDigest(planned) } : {}),
  }
}

/** Tells two plans apart: who may be tried, in which order. */
export function candidatesDigest({ candidates }: Pick<Plan, 'candidates'>): string {
  return fingerprint(candidates.map(({ endpoint }) => endpoint.id).join(' '))
}

/** Says whether a name is a provider's. */
export function providerIn({ catalog }: { readonly catalog: Pick<Catalog, 'providers'> }) {
  return (name: string): boolean => catalog.providers.some(({ id }) => id === name)
}

const MODALITIES = ['image', 'file', 'audio'] as const
const count = z.number().nonnegative()
const modelId = z.templateLiteral(['mesh/', z.string()])
const pico = z
  .string()
  .regex(/^\d+$/)
  .transform((text) => BigInt(text))

const record = z.object({
  in: z.tuple([count, count, count, count, count, count]),
  out: count.optional(),
  n: count.optional(),
  media: z.array(z.enum(MODALITIES)).default([]),
  params: z.array(z.string()).default([]),
  reasoning: z
    .object({
      effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']).exactOptional(),
      maxTokens: count.exactOptional(),
    })
    .optional(),
  alone: z.literal(true).optional(),
  order: z.array(z.string()).default([]),
  only: z.array(z.string()).default([]),
  ignore: z.array(z.string()).default([]),
  require: z.literal(true).optional(),
  sort: z.enum(['price', 'throughput', 'latency']).optional(),
  session: z.string().optional(),
  max_in: pico.optional(),
  max_out: pico.optional(),
  deny: z.literal(true).optional(),
  zdr: z.literal(true).optional(),
  models: z.array(modelId).optional(),
  providers: z.array(z.string()).optional(),
  floor: z.enum(PRIVACY_CLASSES).optional(),
  plan: z.string().optional(),
})

/** A plan's input as it was kept, and the digest of the plan where one was made. */
export interface KeptPlan {
  readonly request: PlanRequest
  readonly digest?: string
}

/** Reads what `recordOf` wrote. Returns `undefined` for anything else. */
export function readPlanRecord(
  kept: unknown,
  { targets, livemode }: { readonly targets: readonly ModelId[]; readonly livemode: boolean },
): KeptPlan | undefined {
  const parsed = record.safeParse(kept)
  if (!parsed.success) return undefined
  const { data } = parsed
  const [textTokens, textBytes, messages, images, files, audioSeconds] = data.in
  return {
    request: {
      targets,
      shape: {
        inputTokensBound: { textTokens, textBytes, messages, images, files, audioSeconds },
        ...(data.out === undefined ? {} : { maxOutputTokens: data.out }),
        choices: data.n ?? 1,
        modalities: {
          image: data.media.includes('image'),
          file: data.media.includes('file'),
          audio: data.media.includes('audio'),
        },
        parameters: data.params,
        ...(data.reasoning ? { reasoning: data.reasoning } : {}),
      },
      route: {
        models: [],
        allowFallbacks: data.alone !== true,
        ...{ order: data.order, only: data.only, ignore: data.ignore },
        requireParameters: data.require === true,
        ...(data.sort ? { sort: data.sort } : {}),
        ...(data.session === undefined ? {} : { sessionId: data.session }),
        ...(data.max_in === undefined ? {} : { maxInputPricePico: data.max_in }),
        ...(data.max_out === undefined ? {} : { maxOutputPricePico: data.max_out }),
        denyDataCollection: data.deny === true,
        zeroDataRetention: data.zdr === true,
      },
      policy: {
        livemode,
        ...(data.models ? { allowedModels: new Set(data.models) } : {}),
        ...(data.providers ? { allowedProviders: new Set(data.providers) } : {}),
        minimumPrivacyClass: data.floor ?? 'standard',
      },
    },
    ...(data.plan === undefined ? {} : { digest: data.plan }),
  }
}
