import { formatUsd, type NanoUsd } from '@mesh/catalog/money.ts'
import { MeshError } from '../errors.ts'
import { type AccountId, newId, type Seams } from '../ids.ts'
import { grant } from '../ledger/grants.ts'
import type { Database } from '../storage/database.ts'
import { recordAudit } from './audit.ts'
import { USD_NANO_MAX } from './limit-schema.ts'
import type { Operator } from './operator-keys.ts'
import { type OperatorRequest, onceByKey } from './operator-requests.ts'

/** Credit that an operator gives an account, in one world. */
export interface GrantRequest {
  readonly accountId: AccountId
  readonly amountNano: NanoUsd
  readonly reason: string
  readonly livemode: boolean
}

/**
 * The ledger's grant, its audit event and the memory of its idempotency key, in one transaction.
 * @throws MeshError `invalid_request` where the balance would pass `USD_NANO_MAX`.
 */
export async function grantCredit(
  { database, seams }: { readonly database: Database; readonly seams: Seams },
  operator: Operator,
  asked: GrantRequest,
  once: OperatorRequest | undefined,
): Promise<Readonly<Record<string, unknown>>> {
  return database.query.transaction().execute(async (transaction) => {
    const write = async () => {
      const id = newId('led', seams)
      const granted = await grant({ ...database, query: transaction }, { id, ...asked })
      if (granted.outcome === 'conflict')
        throw new MeshError('internal', 'A new ledger id was taken already.')
      if (granted.balanceAfterNano > USD_NANO_MAX) throw balanceTooLarge()
      const { accountId, livemode, reason } = asked
      const amountUsd = formatUsd(asked.amountNano)
      await recordAudit(transaction, seams, {
        actor: operator.id,
        action: 'account.granted',
        target: id,
        accountId,
        livemode,
        after: { amountUsd, reason },
      })
      const balanceUsd = formatUsd(granted.balanceAfterNano)
      return {
        id,
        accountId,
        amountUsd,
        reason,
        livemode,
        balanceUsd,
        createdAt: new Date(seams.now()).toISOString(),
      }
    }
    return once === undefined ? write() : onceByKey(transaction, once, write)
  })
}

function balanceTooLarge(): MeshError {
  return new MeshError(
    'invalid_request',
    `amountUsd: The balance would pass ${formatUsd(USD_NANO_MAX)} USD, the most that an account holds in one world. Grant less.`,
    { param: 'amountUsd' },
  )
}
