/** Ids say by their beginning what they name. The rest sorts by time. */
export type AccountId = `acct_${string}`
export type ProjectId = `proj_${string}`
export type KeyId = `key_${string}`
/** A call, its event and its completion: one id for all three. */
export type CallId = `req_${string}`
export type ReceiptId = `rcpt_${string}`
export type LedgerEntryId = `led_${string}`
export type AuditEventId = `aud_${string}`
