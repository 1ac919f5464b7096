import { ERRORS } from '../../apps/router/src/errors.ts'
import { BILLING_REASONS } from '../../apps/router/src/records/billing-reason.ts'

/** The SDK is published by itself and imports nothing of the router, so it has the router's tables as copies. */
export function sdkErrorCodes(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, type, retry }]) =>
      `  ${code}: { status: ${status}, type: '${type}', retry: ${retry} },`,
  )
  return `${madeFrom('apps/router/src/errors.ts')}

/**
 * Every code that MESH answers with, its HTTP status, OpenAI's word for the family, and whether the same request can
 * succeed later. docs/errors.md says what each of them means.
 */
export const ERROR_CODES = {
${rows.join('\n')}
} as const

export type ErrorCode = keyof typeof ERROR_CODES
`
}

export function sdkBillingReasons(): string {
  const rows = Object.keys(BILLING_REASONS).map((reason) => `  '${reason}',`)
  return `${madeFrom('apps/router/src/records/billing-reason.ts')}

/** Why a call cost what it cost. docs/billing-reasons.md says what each of them means. */
export const BILLING_REASONS = [
${rows.join('\n')}
] as const

export type BillingReason = (typeof BILLING_REASONS)[number]
`
}

function madeFrom(source: string): string {
  return `// Made by \`npm run docs\` from ${source}. Change it there.`
}
