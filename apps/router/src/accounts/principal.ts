import { MeshError } from '../errors.ts'
import type { Caller } from './caller.ts'
import type { Operator } from './operator-keys.ts'
import type { Scope } from './scopes.ts'

/** Who asks for something that is not a call: the owner of a key, or an operator. */
export type Principal =
  | { readonly kind: 'key'; readonly caller: Caller }
  | { readonly kind: 'operator'; readonly operator: Operator }

/** The id under which a change is recorded. */
export function actorId(principal: Principal): string {
  return principal.kind === 'key' ? principal.caller.key.id : principal.operator.id
}

/** Whether someone sees and changes what belongs to the live world. */
export function isLive(principal: Principal): boolean {
  return principal.kind === 'operator' || principal.caller.livemode
}

/** @throws MeshError `insufficient_scope` for a key without the scope. */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.scopes.includes(scope)) return
  throw new MeshError('insufficient_scope', `This key lacks the scope ${scope}. Use a key that has it.`, {
    metadata: { scope },
  })
}
