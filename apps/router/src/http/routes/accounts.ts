import { formatUsd } from '@mesh/catalog/money.ts'
import { z } from 'zod'
import {
  createAccount,
  listAccounts,
  readAccount,
  renderAccount,
  updateAccount,
  updateAccountLimits,
} from '../../accounts/accounts.ts'
import { type GrantRequest, grantCredit } from '../../accounts/grants.ts'
import { limitsSchema, usdAmount } from '../../accounts/limit-schema.ts'
import { MeshError } from '../../errors.ts'
import { pageQuery, readCursor, toPage } from '../pagination.ts'
import type { Server } from '../server.ts'
import type { ManagementOptions } from './management.ts'
import { idParams, label, pathId } from './request-parts.ts'

const IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
const plan = label.max(32)
const status = z.enum(['active', 'suspended', 'closed'])
const grant = z.strictObject({
  amountUsd: usdAmount.refine((amount) => amount > 0n, 'must be more than 0'),
  reason: label,
  livemode: z.boolean().default(true),
})

/** `/v1/accounts/me`: the caller's own account. Any scope reads it; `keys` renames it. */
export function registerOwnAccountRoutes(server: Server, { store, access }: ManagementOptions): void {
  server.get('/v1/accounts/me', async (request) => {
    const caller = await access.requireKey(request)
    return renderAccount(await readAccount(store.database.query, caller.account.id), { kind: 'key', caller })
  })

  server.patch(
    '/v1/accounts/me',
    { onRequest: access.authenticated, schema: { body: z.strictObject({ name: label.optional() }) } },
    async (request) => {
      const principal = { kind: 'key', caller: await access.requireKey(request, 'keys') } as const
      return renderAccount(
        await updateAccount(store, principal, principal.caller.account.id, request.body),
        principal,
      )
    },
  )
}

/** `/v1/accounts`: for operators. */
export function registerAccountRoutes(server: Server, options: ManagementOptions): void {
  const { store, access, vocabulary } = options
  const { query } = store.database
  const limits = limitsSchema(vocabulary)
  const onRequest = access.authenticated

  server.post(
    '/v1/accounts',
    {
      onRequest,
      schema: { body: z.strictObject({ name: label, plan: plan.optional(), limits: limits.optional() }) },
    },
    async (request, reply) => {
      const operator = await access.requireOperator(request)
      void reply.code(201)
      return renderAccount(await createAccount(store, operator, request.body), { kind: 'operator', operator })
    },
  )

  server.get('/v1/accounts', { onRequest, schema: { querystring: pageQuery } }, async (request) => {
    const operator = await access.requireOperator(request)
    const { limit, cursor } = request.query
    const accounts = await listAccounts(query, { before: readCursor(cursor, 'acct'), limit })
    return toPage(
      accounts,
      limit,
      ({ row }) => row.id,
      (account) => renderAccount(account, { kind: 'operator', operator }),
    )
  })

  server.get('/v1/accounts/:id', { onRequest, schema: { params: idParams } }, async (request) => {
    const operator = await access.requireOperator(request)
    const account = await readAccount(query, pathId('acct', request.params.id))
    return renderAccount(account, { kind: 'operator', operator })
  })

  server.patch(
    '/v1/accounts/:id',
    {
      onRequest,
      schema: {
        params: idParams,
        body: z.strictObject({ name: label.optional(), plan: plan.optional(), status: status.optional() }),
      },
    },
    async (request) => {
      const principal = { kind: 'operator', operator: await access.requireOperator(request) } as const
      const id = pathId('acct', request.params.id)
      return renderAccount(await updateAccount(store, principal, id, request.body), principal)
    },
  )

  server.patch(
    '/v1/accounts/:id/limits',
    { onRequest, schema: { params: idParams, body: limits } },
    async (request) => {
      const principal = { kind: 'operator', operator: await access.requireOperator(request) } as const
      const id = pathId('acct', request.params.id)
      return renderAccount(await updateAccountLimits(store, principal, id, request.body), principal)
    },
  )

  server.post(
    '/v1/accounts/:id/grants',
    { onRequest, schema: { params: idParams, body: grant } },
    async (request, reply) => {
      const operator = await access.requireOperator(request)
      const accountId = pathId('acct', request.params.id)
      const { amountUsd: amountNano, reason, livemode } = request.body
      const asked: GrantRequest = { accountId, amountNano, reason, livemode }
      const key = idempotencyKey(request.headers['idempotency-key'])
      const once = key === undefined ? undefined : grantOnce(options, asked, key)
      void reply.code(201)
      return grantCredit(store, operator, asked, once)
    },
  )
}

/** The HMACs of a grant's key and of what it asks, whatever way the amount was written. */
function grantOnce({ pseudonyms }: ManagementOptions, asked: GrantRequest, key: string) {
  const { accountId, amountNano, reason, livemode } = asked
  const remembered = (purpose: 'key' | 'body', text: string) =>
    pseudonyms.remembered(accountId, purpose, text)
  return {
    keyHmac: remembered('key', `grant ${key}`),
    bodyHmac: remembered('body', JSON.stringify([formatUsd(amountNano), reason, livemode])),
  }
}

function idempotencyKey(header: string | readonly string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  if (typeof header === 'string' && header !== '' && header.length <= IDEMPOTENCY_KEY_CHARACTERS_MAX)
    return header
  throw new MeshError(
    'invalid_request',
    `Idempotency-Key must have 1 to ${IDEMPOTENCY_KEY_CHARACTERS_MAX} characters.`,
  )
}
