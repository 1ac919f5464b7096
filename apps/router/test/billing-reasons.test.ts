import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { formatUsd } from '@mesh/catalog/money.ts'
import { type AccountId, type CallId, type KeyId, newId, type ProjectId } from '../src/ids.ts'
import type { Payer } from '../src/ledger/books.ts'
import { createBooks } from '../src/ledger/postgres-books.ts'
import { createLog } from '../src/log.ts'
import { BILLING_REASONS, type BillingReason } from '../src/records/billing-reason.ts'
import { systemSeams } from '../src/seams.ts'
import { granted, holdRequest } from './support/books-fixture.ts'
import {
  assertRecordsAgree,
  bookOf,
  chat,
  chunksOf,
  hasBegun,
  holdsOf,
  nano,
  type OpenCall,
  open,
  requestIdOf,
  send,
} from './support/calls.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

let shared: TestDatabase
let mesh: TestRouter
before(async () => {
  shared = await createTestDatabase()
  // Holds of the dead are looked for four times in their lifetime.
  mesh = await startTestRouter({ on: shared, policy: { holds: { lifetimeMs: 400 } } })
})
after(async () => {
  await mesh.stop()
  await shared.close()
})

const SONNET = 'mesh/claude-sonnet-4.5'

interface Case {
  readonly reason: BillingReason
  readonly what: string
  readonly isCharged: boolean
  /** Whether a provider may bill MESH for what the customer does not pay. */
  readonly isAbsorbed?: boolean
  readonly creditUsd?: string
  /** Makes the call, and names it. */
  readonly run: (account: TestAccount) => Promise<string>
}

/** A call that is answered as `simulate` says. */
function answered(simulate: string, more: object = {}): Case['run'] {
  return async ({ key }) => requestIdOf(await send(mesh, key, chat(simulate, { ...more })))
}

/** A caller who hangs up as soon as `isTime`. */
async function hangUp(call: OpenCall, isTime: () => boolean): Promise<void> {
  await until('it is time to leave', isTime)
  call.destroy()
}

const CASES: readonly Case[] = [
  {
    reason: 'completed',
    what: 'a whole answer',
    isCharged: true,
    run: answered('tokens=20'),
  },
  {
    reason: 'completed',
    what: 'a whole stream',
    isCharged: true,
    run: answered('tokens=20', { stream: true }),
  },
  {
    reason: 'truncated_by_length',
    what: 'an answer that reaches max_tokens',
    isCharged: true,
    run: answered('tokens=200', { max_tokens: 20 }),
  },
  {
    reason: 'credit_cutoff',
    what: 'an answer that credit cannot carry to its end',
    isCharged: true,
    creditUsd: '0.07',
    run: answered('tokens=20000', { model: SONNET, stream: true }),
  },
  {
    reason: 'client_disconnected',
    what: 'a stream whose caller hangs up',
    isCharged: true,
    run: async ({ key }) => {
      const call = open(mesh, key, chat('tokens=100,hold=20', { stream: true }))
      await hangUp(call, () => hasBegun(call))
      return chunksOf(call.text())[0].id
    },
  },
  {
    reason: 'client_disconnected',
    what: 'an answer whose caller hangs up while it is made',
    isCharged: true,
    run: async ({ key, id }) => {
      const call = open(mesh, key, chat('tokens=100,hold'))
      await hangUp(call, () => mesh.simulator.stats().held === 1)
      const [hold] = await mesh.database.query
        .selectFrom('holds')
        .select('call_id')
        .where('account_id', '=', id as AccountId)
        .execute()
      mesh.simulator.release()
      return hold?.call_id ?? ''
    },
  },
  {
    reason: 'estimated_usage',
    what: 'an answer without usage',
    isCharged: true,
    run: answered('tokens=20,lying_usage=missing'),
  },
  {
    reason: 'zero_completion_not_billed',
    what: 'an empty answer',
    isCharged: false,
    isAbsorbed: true,
    run: answered('empty'),
  },
  {
    reason: 'upstream_error_not_billed',
    what: 'a provider that fails',
    isCharged: false,
    isAbsorbed: true,
    run: answered('server_error'),
  },
  {
    reason: 'upstream_error_not_billed',
    what: 'a provider that refuses for load',
    isCharged: false,
    run: answered('overloaded'),
  },
  {
    reason: 'upstream_error_not_billed',
    what: 'a stream that breaks off',
    isCharged: false,
    isAbsorbed: true,
    run: answered('tokens=100,cut_stream', { stream: true }),
  },
  {
    reason: 'router_crash',
    what: 'a call whose router died',
    isCharged: false,
    isAbsorbed: true,
    run: callOfADeadRouter,
  },
  {
    reason: 'rejected_not_billed',
    what: 'a call without credit',
    isCharged: false,
    creditUsd: '0',
    run: answered('tokens=20'),
  },
  {
    reason: 'rejected_not_billed',
    what: 'a call to a model that does not exist',
    isCharged: false,
    run: answered('tokens=20', { model: 'no-such-model' }),
  },
]

/** Holds money as a router does, and is never heard of again. */
async function callOfADeadRouter(account: TestAccount): Promise<CallId> {
  const database = shared.database()
  const books = createBooks({
    database,
    routerId: newId('rtr', systemSeams),
    log: createLog('silent'),
    holdTtlMs: 1_000,
  })
  await books.start()
  const request = holdRequest(await payerOf(account))
  granted(await books.hold(request))
  assert.equal(await holdsOf(mesh.database, account.id), 1)
  await books.close()
  return request.callId
}

async function payerOf({ id, projectId, keyId }: TestAccount): Promise<Payer> {
  const { policy_version } = await mesh.database.query
    .selectFrom('accounts')
    .select('policy_version')
    .where('id', '=', id as AccountId)
    .executeTakeFirstOrThrow()
  return {
    accountId: id as AccountId,
    projectId: projectId as ProjectId,
    keyId: keyId as KeyId,
    lineageId: keyId as KeyId,
    livemode: false,
    policyVersion: policy_version,
  }
}

/** What the house carries for a call: as its event says, and as the ledger has it. */
async function absorbedNano(id: string): Promise<bigint> {
  const { query } = mesh.database
  const event = await query
    .selectFrom('events')
    .select('absorbed_nano')
    .where('id', '=', id as CallId)
    .executeTakeFirstOrThrow()
  const entries = await query
    .selectFrom('ledger_entries')
    .select('amount_nano')
    .where('call_id', '=', id as CallId)
    .where('ledger_account', '=', 'absorbed')
    .execute()
  const booked = entries.reduce((sum, { amount_nano }) => sum - amount_nano, 0n)
  assert.equal(booked, event.absorbed_nano, 'event and ledger differ in what was absorbed')
  return booked
}

for (const { reason, what, isCharged, isAbsorbed = false, creditUsd = '1.00', run } of CASES) {
  test(`${reason}: ${what}`, async () => {
    const account = await mesh.account({ creditUsd })
    const id = await run(account)
    const event = await assertRecordsAgree(mesh, account, id)
    assert.equal(event.billingReason, reason)
    const total = nano(event.cost.totalUsd)
    assert.equal(total > 0n, isCharged, `${formatUsd(total)} was charged`)
    assert.equal((await absorbedNano(id)) > 0n, isAbsorbed)
    assert.deepEqual(await bookOf(mesh.database, account.id), {
      balanceNano: nano(creditUsd) - total,
      heldNano: 0n,
    })
  })
}

test('every billing reason is reached', () => {
  const reached = new Set(CASES.map(({ reason }) => reason))
  assert.deepEqual([...reached].sort(), Object.keys(BILLING_REASONS).sort())
})
