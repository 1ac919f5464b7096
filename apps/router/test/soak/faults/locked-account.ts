import type { Fault } from '../fault.ts'

const ENDS_OF_OTHERS = 60

/** Somebody at work on one account by hand, who went for a coffee. */
export const lockedAccount: Fault = {
  name: 'locked-account',
  meaning: "One account's book is locked by somebody else while the others make dozens of calls.",
  rounds: { soak: 10, test: 1 },
  layout: { routers: 2, policy: { calls: { settleWaitMs: 1_500 } } },
  async strike({ load, database, below }) {
    const accountId = load.accountIds[below(load.accountIds.length)]
    const client = await (await database()).connect()
    try {
      await client.query('set idle_in_transaction_session_timeout = 0')
      await client.query('begin')
      await client.query('select from balances where account_id = $1 for update', [accountId])
      await load.moreEnds(ENDS_OF_OTHERS)
      await client.query('commit')
    } finally {
      await client.end()
    }
  },
}
