import type { FastifyRequest } from 'fastify'
import { type Authenticator, presentedSecret } from '../accounts/authenticate.ts'
import type { Caller } from '../accounts/caller.ts'
import { parseSecret } from '../accounts/key-secret.ts'
import { authenticateOperator, type Operator } from '../accounts/operator-keys.ts'
import { type Principal, requireScope } from '../accounts/principal.ts'
import type { Scope } from '../accounts/scopes.ts'
import { MeshError } from '../errors.ts'
import type { Database } from '../storage/database.ts'

/**
 * Who a request comes from, for all routes but calls. A request is authenticated once, however often it is asked:
 * a hook asks before the body is read, the handler asks again for what it needs.
 */
export interface Access {
  /** An `onRequest` hook: nobody unknown gets a body read or a schema checked. */
  readonly authenticated: (request: FastifyRequest) => Promise<void>
  /** The caller, who must have a scope where one is named. Operators have no account, so they are refused. */
  readonly requireKey: KeyGuard
  requireOperator(request: FastifyRequest): Promise<Operator>
  /** A key with the scope, or an operator. */
  requirePrincipal(request: FastifyRequest, scope: Scope): Promise<Principal>
}

/** Answers with the caller of a request. */
export type KeyGuard = (request: FastifyRequest, scope?: Scope) => Promise<Caller>

/**
 * Builds the access checks over keys and operator keys. Where operators have a port of their own, no other port
 * takes their keys, or says whether it knows one.
 */
export function createAccess(
  authenticator: Authenticator,
  database: Pick<Database, 'query'>,
  operators: 'welcome' | 'on_their_own_port' = 'welcome',
): Access {
  const principals = new WeakMap<FastifyRequest, Promise<Principal>>()

  const authenticate = async (request: FastifyRequest): Promise<Principal> => {
    const secret = presentedSecret(request.headers)
    if (parseSecret(secret.reveal()).kind === 'foreign') {
      if (operators === 'on_their_own_port') {
        throw new MeshError(
          'invalid_api_key',
          'This is no key of an account. Operator keys are taken on the port that MESH_ADMIN_PORT names.',
        )
      }
      return { kind: 'operator', operator: await authenticateOperator(database, secret) }
    }
    return { kind: 'key', caller: await authenticator.authenticate(secret) }
  }

  const principalOf = (request: FastifyRequest): Promise<Principal> => {
    const known = principals.get(request)
    if (known) return known
    const found = authenticate(request)
    principals.set(request, found)
    return found
  }

  return {
    async authenticated(request) {
      await principalOf(request)
    },
    async requireKey(request, scope) {
      const principal = await principalOf(request)
      if (principal.kind === 'operator') {
        throw new MeshError(
          'insufficient_scope',
          'An operator key has no account of its own. Use a key of an account.',
        )
      }
      if (scope !== undefined) requireScope(principal.caller, scope)
      return principal.caller
    },
    async requireOperator(request) {
      const principal = await principalOf(request)
      if (principal.kind === 'operator') return principal.operator
      throw new MeshError('insufficient_scope', 'This route is for operators. Use an operator key.', {
        metadata: { scope: 'admin' },
      })
    },
    async requirePrincipal(request, scope) {
      const principal = await principalOf(request)
      if (principal.kind === 'key') requireScope(principal.caller, scope)
      return principal
    },
  }
}
