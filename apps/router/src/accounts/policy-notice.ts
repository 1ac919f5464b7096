import { z } from 'zod'
import type { AccountId, KeyId } from '../ids.ts'

/** The channel on which routers tell each other of changes, through PostgreSQL. */
export const POLICY_CHANNEL = 'mesh_policy'

/** Why calls of a key end while they run. */
export const STOP_REASONS = ['key_revoked', 'account_suspended'] as const
export type StopReason = (typeof STOP_REASONS)[number]

/** Keys whose running calls are cut, and what their callers are told. */
export interface KeyStop {
  readonly keyIds: readonly KeyId[]
  readonly reason: StopReason
}

/** What changed in an account. Sent in the transaction of the change, so it arrives when, and only if, that commits. */
export interface PolicyNotice {
  readonly accountId: AccountId
  /** Absent where no key stops. */
  readonly stop?: KeyStop | undefined
}

/** PostgreSQL takes 8,000 bytes in a notice; an id is 30 characters, and 33 with its quotes and comma. */
const KEYS_PER_NOTICE_MAX = 200

/** The payloads of a change's notices; several where one cannot hold all its keys. */
export function writeNotices(accountId: AccountId, stops: readonly KeyStop[]): string[] {
  const payloads: string[] = []
  for (const { keyIds, reason } of stops) {
    for (let from = 0; from < keyIds.length; from += KEYS_PER_NOTICE_MAX) {
      const stop = { keyIds: keyIds.slice(from, from + KEYS_PER_NOTICE_MAX), reason }
      payloads.push(JSON.stringify({ accountId, stop }))
    }
  }
  return payloads.length > 0 ? payloads : [JSON.stringify({ accountId })]
}

/** Says that what is set for providers changed: of no account, so every router reads it again. */
export const PROVIDERS_NOTICE = JSON.stringify({ providers: true })

const noticeSchema = z.strictObject({
  accountId: z.templateLiteral(['acct_', z.string()]),
  stop: z
    .strictObject({
      keyIds: z.array(z.templateLiteral(['key_', z.string()])),
      reason: z.enum(STOP_REASONS),
    })
    .optional(),
})

/** Reads a payload; undefined for what no router of this version sends. */
export function readNotice(payload: string): PolicyNotice | undefined {
  try {
    return noticeSchema.safeParse(JSON.parse(payload)).data
  } catch {
    return undefined
  }
}
