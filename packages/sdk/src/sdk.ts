/** `@meshrouter/sdk`: everything that the package offers. */
export { OpenAI } from 'openai'
export { BILLING_REASONS, type BillingReason } from './billing-reasons.ts'
export type * from './call.ts'
export { ERROR_CODES, type ErrorCode } from './error-codes.ts'
export {
  type BrokenStream,
  type ClientErrorCode,
  type ErrorMetadata,
  type Exclusions,
  isMeshError,
  MeshClientError,
  type MeshError,
  type RefusedAmounts,
} from './errors.ts'
export type * from './ids.ts'
export type * from './limits.ts'
export { DEFAULT_BASE_URL, MeshClient, type MeshClientOptions } from './mesh-client.ts'
export type { ListParams, MeshList, MeshPage } from './page.ts'
export type * from './privacy.ts'
export type { Account, Book } from './resources/accounts.ts'
export type { AuditEvent } from './resources/audit.ts'
export type * from './resources/keys.ts'
export type { LedgerEntry } from './resources/ledger.ts'
export type { Attempt, RequestEvent } from './resources/logs.ts'
export type {
  MeshModel,
  ModelEndpoint,
  ModelEndpoints,
  ModelKind,
  ModelPricing,
} from './resources/models.ts'
export type {
  CallSums,
  MonitoringSummary,
  MonitoringWindow,
  Percentiles,
} from './resources/monitoring.ts'
export type {
  DeletedProject,
  Project,
  ProjectCreateParams,
  ProjectUpdateParams,
} from './resources/projects.ts'
export type { EndpointHealth, ProviderHealth, ProvidersHealth } from './resources/providers.ts'
export type { UsageGroup, UsageParams, UsageReport, UsageRow } from './resources/usage.ts'
export type { TokenBuckets } from './token-buckets.ts'
export {
  type Receipt,
  type ReceiptClaims,
  ReceiptError,
  type ReceiptKey,
  type ReceiptKeys,
  verifyReceipt,
} from './verify-receipt.ts'
