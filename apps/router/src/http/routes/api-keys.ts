import { z } from 'zod'
import { readAccount } from '../../accounts/accounts.ts'
import type { Caller } from '../../accounts/caller.ts'
import { listKeys, type MadeKey, readKey, renderKey } from '../../accounts/key-records.ts'
import { revokeKey } from '../../accounts/key-revocation.ts'
import { rotateKey } from '../../accounts/key-rotation.ts'
import { readUsage, renderRemaining, renderUsage, type Usage } from '../../accounts/key-usage.ts'
import { createKey, updateKey, updateKeyLimits } from '../../accounts/keys.ts'
import { limitsSchema } from '../../accounts/limit-schema.ts'
import { renderOpenRouterCredits, renderOpenRouterKey } from '../../accounts/openrouter-key.ts'
import { SCOPES } from '../../accounts/scopes.ts'
import { pageQuery, readCursor, toPage } from '../pagination.ts'
import type { Server } from '../server.ts'
import type { ManagementOptions } from './management.ts'
import { idOf, idParams, label, pathId } from './request-parts.ts'

const GRACE_SECONDS_MAX = 86_400
const scopes = z.array(z.enum(SCOPES)).min(1).max(SCOPES.length)
const rotation = z.strictObject({ graceSeconds: z.int().min(0).max(GRACE_SECONDS_MAX).default(0) })

/** `/v1/api-keys`: keys of the caller's account, or of any account for an operator. */
export function registerKeyRoutes(server: Server, { store, access, vocabulary }: ManagementOptions): void {
  const { query } = store.database
  const limits = limitsSchema(vocabulary)
  const onRequest = access.authenticated

  server.post(
    '/v1/api-keys',
    {
      onRequest,
      schema: {
        body: z.strictObject({
          name: label,
          accountId: idOf('acct').optional(),
          projectId: idOf('proj').optional(),
          scopes: scopes.optional(),
          limits: limits.optional(),
          livemode: z.boolean().optional(),
        }),
      },
    },
    async (request, reply) => {
      const principal = await access.requirePrincipal(request, 'keys')
      void reply.code(201)
      return renderMadeKey(await createKey(store, principal, request.body))
    },
  )

  server.get(
    '/v1/api-keys',
    { onRequest, schema: { querystring: pageQuery.extend({ accountId: idOf('acct').optional() }) } },
    async (request) => {
      const principal = await access.requirePrincipal(request, 'keys')
      const { limit, cursor, accountId } = request.query
      const before = readCursor(cursor, 'key')
      const keys = await listKeys(query, principal, { accountId, before, limit })
      return toPage(keys, limit, ({ row }) => row.id, renderKey)
    },
  )

  server.get('/v1/api-keys/:id', { onRequest, schema: { params: idParams } }, async (request) => {
    const principal = await access.requirePrincipal(request, 'keys')
    return renderKey(await readKey(query, principal, pathId('key', request.params.id)))
  })

  server.patch(
    '/v1/api-keys/:id',
    {
      onRequest,
      schema: {
        params: idParams,
        body: z.strictObject({ name: label.optional(), scopes: scopes.optional() }),
      },
    },
    async (request) => {
      const principal = await access.requirePrincipal(request, 'keys')
      return renderKey(await updateKey(store, principal, pathId('key', request.params.id), request.body))
    },
  )

  server.patch(
    '/v1/api-keys/:id/limits',
    { onRequest, schema: { params: idParams, body: limits } },
    async (request) => {
      const principal = await access.requirePrincipal(request, 'keys')
      return renderKey(
        await updateKeyLimits(store, principal, pathId('key', request.params.id), request.body),
      )
    },
  )

  server.delete('/v1/api-keys/:id', { onRequest, schema: { params: idParams } }, async (request) => {
    const principal = await access.requirePrincipal(request, 'keys')
    return renderKey(await revokeKey(store, principal, pathId('key', request.params.id)))
  })

  server.post(
    '/v1/api-keys/:id/rotate',
    { onRequest, schema: { params: idParams, body: z.preprocess((body) => body ?? {}, rotation) } },
    async (request, reply) => {
      const principal = await access.requirePrincipal(request, 'keys')
      const id = pathId('key', request.params.id)
      const made = await rotateKey(store, principal, id, request.body.graceSeconds)
      void reply.code(201)
      return renderMadeKey(made)
    },
  )
}

/** The key that asks: `/v1/api-keys/current`, and the same as OpenRouter shows it. Any scope will do. */
export function registerCurrentKeyRoutes(server: Server, { store, access }: ManagementOptions): void {
  const { query } = store.database
  const usageOf = ({ key, livemode }: Caller): Promise<Usage> => readUsage(query, key.lineageId, livemode)

  server.get('/v1/api-keys/current', async (request) => {
    const caller = await access.requireKey(request)
    const key = await readKey(query, { kind: 'key', caller }, caller.key.id)
    const usage = await usageOf(caller)
    return { ...renderKey(key), usage: renderUsage(usage), remaining: renderRemaining(key.limits, usage) }
  })

  server.get('/v1/key', async (request) => {
    const caller = await access.requireKey(request)
    return renderOpenRouterKey(caller, await usageOf(caller))
  })

  server.get('/v1/credits', async (request) => {
    const { account, livemode } = await access.requireKey(request)
    const { live, test } = await readAccount(query, account.id)
    return renderOpenRouterCredits(livemode ? live : test, await readUsage(query, account.id, livemode))
  })
}

/** A new key: the only answer that ever holds its secret. */
function renderMadeKey({ key, secret }: MadeKey) {
  return { ...renderKey(key), secret: secret.reveal() }
}
