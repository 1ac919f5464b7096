import type { Caller } from '../accounts/caller.ts'
import { requireScope } from '../accounts/principal.ts'
import type { CallRequest } from './call-request.ts'
import type { Mesh } from './mesh.ts'

/**
 * Who calls: a key with the scope `chat`, from memory where it is known there. The hold refuses what is no longer so;
 * what is refused here was read anew.
 * @throws MeshError `insufficient_scope`, and all that authentication throws.
 */
export async function authenticate(request: CallRequest, { authenticator }: Mesh): Promise<Caller> {
  const known = await authenticator.authenticateForHold(request.secret())
  if (known.scopes.includes('chat')) return known
  const caller = await authenticator.authenticate(request.secret())
  requireScope(caller, 'chat')
  return caller
}
