import type { ModelId } from '@mesh/catalog/catalog.ts'
import { parseUsd } from '@mesh/catalog/money.ts'
import { PRIVACY_CLASSES } from '@mesh/engine/privacy-class.ts'
import { z } from 'zod'

/** A billion dollars, for one amount and for one balance: a sum of two stays far within 64 bits. */
export const USD_NANO_MAX = 10n ** 18n
const USD_MESSAGE =
  'must be USD from 0 to 1000000000 as a decimal string with at most nine places, like "5.00"'
const NAMES_MAX = 200
const NAME_CHARACTERS_MAX = 128

/** USD in a request. A JSON number is taken as it was written, through its text, and never calculated with. */
export const usdAmount = z
  .union([z.string(), z.number()], { error: USD_MESSAGE })
  .transform((given, context) => {
    const amount = parseUsd(String(given))
    if (amount !== undefined && amount >= 0n && amount <= USD_NANO_MAX) return amount
    context.addIssue({ code: 'custom', message: USD_MESSAGE })
    return z.NEVER
  })

/** The names that `allowedModels` and `allowedProviders` may hold. */
export interface LimitVocabulary {
  /** The catalogue's id of a model by any of its names. */
  modelId(name: string): ModelId | undefined
  hasProvider(id: string): boolean
}

/** Limits in a request: each is optional, null takes it away. Models come out under their catalogue ids. */
export function limitsSchema(vocabulary: LimitVocabulary) {
  const count = z.int().min(0).transform(BigInt).nullable().optional()
  const usd = usdAmount.nullable().optional()
  const name = z.string().max(NAME_CHARACTERS_MAX)
  const model = name.transform((text, context) => {
    const id = vocabulary.modelId(text)
    if (id !== undefined) return id
    context.addIssue({ code: 'custom', message: 'names no model of this server; see GET /v1/models' })
    return z.NEVER
  })
  const provider = name.refine((text) => vocabulary.hasProvider(text), 'names no provider of this server')
  return z.strictObject({
    requestsPerMinute: count,
    tokensPerMinute: count,
    maxConcurrentRequests: count,
    monthlyRequestLimit: count,
    monthlyTokenLimit: count,
    dailyUsdLimit: usd,
    monthlyUsdLimit: usd,
    totalUsdLimit: usd,
    maxUsdPerRequest: usd,
    allowedModels: z.array(model).min(1).max(NAMES_MAX).nullable().optional(),
    allowedProviders: z.array(provider).min(1).max(NAMES_MAX).nullable().optional(),
    minimumPrivacyClass: z.enum(PRIVACY_CLASSES).nullable().optional(),
    expiresAt: z.iso
      .datetime({ offset: true })
      .transform((text) => new Date(text))
      .nullable()
      .optional(),
  })
}
