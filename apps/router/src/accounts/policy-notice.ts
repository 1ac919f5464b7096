import { z } from 'zod'
import type { AccountId, KeyId } from '../ids.ts'

/** The channel on which routers tell each other of changes, through PostgreSQL. */
export const POLICY_CHANNEL = 'mesh_policy'

/** What changed in an account. Sent in the transaction of the change, so it arrives when, and only if, that commits. */
export interface PolicyNotice {
  readonly accountId: AccountId
  /** Keys that stop now: their running calls are cut. */
  readonly revokedKeyIds: readonly KeyId[]
}

/** PostgreSQL takes 8,000 bytes in a notice; an id is 30 characters, and 33 with its quotes and comma. */
const KEYS_PER_NOTICE_MAX = 200

/** The payloads that carry a notice; several where one cannot hold all its keys. */
export function writeNotices(notice: PolicyNotice): string[] {
  const payloads: string[] = []
  for (let from = 0; from === 0 || from < notice.revokedKeyIds.length; from += KEYS_PER_NOTICE_MAX) {
    const revokedKeyIds = notice.revokedKeyIds.slice(from, from + KEYS_PER_NOTICE_MAX)
    payloads.push(JSON.stringify({ accountId: notice.accountId, revokedKeyIds }))
  }
  return payloads
}

const noticeSchema = z.object({
  accountId: z.templateLiteral(['acct_', z.string()]),
  revokedKeyIds: z.array(z.templateLiteral(['key_', z.string()])),
})

/** Reads a payload; undefined for what no router of this version sends. */
export function readNotice(payload: string): PolicyNotice | undefined {
  try {
    return noticeSchema.safeParse(JSON.parse(payload)).data
  } catch {
    return undefined
  }
}
