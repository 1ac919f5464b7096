import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { PrivacyClass, PrivacyRequest } from '@mesh/engine/ask.ts'
import { classInTheClear, reaches } from '@mesh/engine/privacy-class.ts'

/** What happened to a call's privacy: the same in the header, the body, the event and the receipt. */
export interface PrivacyReport {
  readonly requested: PrivacyRequest['mode']
  readonly class: PrivacyClass
  readonly sealed: 'none'
  readonly providerPlaintext: boolean
  readonly reason?: 'cleartext-to-edge'
}

/**
 * Computed from what happened, never asserted: a call that reaches this router in the clear is `protected` at most,
 * also where its caller asked for MESH privacy.
 */
export function privacyReport(
  request: PrivacyRequest,
  endpoint: Endpoint | undefined,
  livemode: boolean,
): PrivacyReport {
  return {
    requested: request.mode,
    class: endpoint && request.mode !== 'standard' ? classInTheClear(endpoint, livemode) : 'standard',
    sealed: 'none',
    providerPlaintext: endpoint !== undefined,
    ...(request.mode === 'mesh' ? { reason: 'cleartext-to-edge' as const } : {}),
  }
}

/** What can be said before it is known who answers: the weakest of what the candidates offer. */
export function weakestReport(
  request: PrivacyRequest,
  endpoints: readonly Endpoint[],
  livemode: boolean,
): PrivacyReport {
  const reports = endpoints.map((endpoint) => privacyReport(request, endpoint, livemode))
  return reports.reduce(
    (weakest, report) => (reaches(report.class, weakest.class) ? weakest : report),
    reports[0] ?? privacyReport(request, undefined, livemode),
  )
}

/** The header `x-mesh-privacy`: a dictionary as in RFC 9651, written with semicolons as the contract has it. */
export function privacyHeader(report: PrivacyReport): string {
  return [
    `requested=${report.requested}`,
    `class=${report.class}`,
    `sealed=${report.sealed}`,
    ...(report.reason ? [`reason=${report.reason}`] : []),
    `provider-plaintext=${report.providerPlaintext ? 'yes' : 'no'}`,
  ].join('; ')
}
