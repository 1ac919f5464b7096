/** How private a call was, weakest first. */
export type PrivacyClass = 'standard' | 'protected' | 'private_gateway' | 'confidential'

/** What happened to a call's privacy: the same in answer, event and receipt. Computed from what happened. */
export interface PrivacyReport {
  readonly requested: 'standard' | 'protected' | 'mesh'
  readonly class: PrivacyClass
  readonly sealed: 'none'
  readonly providerPlaintext: boolean
  readonly reason?: 'cleartext-to-edge'
}
