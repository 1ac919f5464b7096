import type { Caller } from '../accounts/caller.ts'
import { requireScope } from '../accounts/principal.ts'
import { withinPatience } from '../storage/patience.ts'
import type { CallRequest } from './call-request.ts'
import type { Mesh } from './mesh.ts'

/**
 * Who calls: a key with the scope `chat`, from memory where it is known there. The hold refuses what is no longer so;
 * what is refused here was read anew.
 * @throws MeshError `insufficient_scope`, `storage_unavailable` after as long as callers wait, and all that authentication throws.
 */
export async function authenticate(
  request: CallRequest,
  { authenticator, policy }: Pick<Mesh, 'authenticator' | 'policy'>,
): Promise<Caller> {
  const { settleWaitMs } = policy.calls
  const known = await withinPatience(authenticator.authenticateForHold(request.secret()), settleWaitMs)
  if (known.scopes.includes('chat')) return known
  const caller = await withinPatience(authenticator.authenticate(request.secret()), settleWaitMs)
  requireScope(caller, 'chat')
  return caller
}
