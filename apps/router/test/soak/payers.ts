import { formatUsd, parseUsd } from '@mesh/catalog/money.ts'
import { requester } from '../support/test-router.ts'

/** Who pays for calls of the load: an account by one of its keys. */
export interface Payer {
  readonly accountId: string
  readonly keyId: string
  readonly secret: string
  /** Runs out of money in a round. */
  readonly isPoor: boolean
}

/** The accounts and keys of a stage's callers, made once. */
export interface Payers {
  /** By one key of each account. Calls spread over them evenly. */
  readonly all: readonly Payer[]
  /**
   * Keys that each make one call a round and its repeats under one Idempotency-Key: whatever is charged to such a key
   * in a round is charged for that one call.
   */
  readonly ofRepeats: readonly Payer[]
  /** Lets the account with little credit, and the key with a low limit, spend what runs out within a round. */
  refill(): Promise<void>
}

const RICH_ACCOUNTS = 4
const REPEAT_KEYS_PER_ACCOUNT = 12
const RICH_CREDIT = '100000.00'
/** What one of the two poor payers may spend in a round, in nano-USD: less than its callers ask for. */
const ROUND_CREDIT_NANO = 12_000_000n

/** Makes the accounts over the API, as an operator does. */
export async function makePayers(url: string, adminKey: string): Promise<Payers> {
  const request = requester(url)
  const operate = async (method: string, path: string, body: object) => {
    const answer = await request(method, path, { key: adminKey, body })
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`)
    return answer.json
  }
  const makeAccount = async (): Promise<string> =>
    (await operate('POST', '/v1/accounts', { name: 'Load' })).id
  const grant = (accountId: string, amountUsd: string) =>
    operate('POST', `/v1/accounts/${accountId}/grants`, { amountUsd, reason: 'Load', livemode: false })
  const makeKey = async (accountId: string, isPoor = false): Promise<Payer> => {
    const body = { name: 'Load', accountId, livemode: false, scopes: ['chat', 'usage'] }
    const { id, secret } = await operate('POST', '/v1/api-keys', body)
    return { accountId, keyId: id, secret, isPoor }
  }
  const balanceOf = async ({ secret }: Payer): Promise<bigint> => {
    const { json } = await request('GET', '/v1/accounts/me', { key: secret })
    return parseUsd(json.balanceUsd) ?? 0n
  }

  const rich: Payer[] = []
  const ofRepeats: Payer[] = []
  for (let count = 0; count < RICH_ACCOUNTS; count++) {
    const accountId = await makeAccount()
    await grant(accountId, RICH_CREDIT)
    rich.push(await makeKey(accountId))
    for (let key = 0; key < REPEAT_KEYS_PER_ACCOUNT; key++) ofRepeats.push(await makeKey(accountId))
  }
  const poor = await makeKey(await makeAccount(), true)
  const limited = await makeKey(await makeAccount(), true)
  await grant(limited.accountId, RICH_CREDIT)
  const creditNano = await balanceOf(limited)
  return {
    all: [...rich, poor, limited],
    ofRepeats,
    async refill() {
      const missingNano = ROUND_CREDIT_NANO - (await balanceOf(poor))
      if (missingNano > 0n) await grant(poor.accountId, formatUsd(missingNano))
      const totalUsdLimit = formatUsd(creditNano - (await balanceOf(limited)) + ROUND_CREDIT_NANO)
      await operate('PATCH', `/v1/api-keys/${limited.keyId}/limits`, { totalUsdLimit })
    },
  }
}
