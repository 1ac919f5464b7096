import {
  type Authenticator,
  type AuthenticatorOptions,
  createAuthenticator as createWhole,
} from '../../apps/router/src/accounts/authenticate.ts'
import type { Caller } from '../../apps/router/src/accounts/caller.ts'

export * from '../../apps/router/src/accounts/authenticate.ts'

/** Whoever makes a call is taken for the first who did. @public The preload puts it in the original's place. */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const whole = createWhole(options)
  let first: Promise<Caller> | undefined
  return {
    ...whole,
    authenticateForHold(secret) {
      first ??= whole.authenticateForHold(secret)
      return first
    },
  }
}
