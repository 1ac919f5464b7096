import { formatUsd } from '@mesh/catalog/money.ts'
import type { Caller } from '../accounts/caller.ts'
import { MeshError } from '../errors.ts'
import type { CallId } from '../ids.ts'
import { describeError } from '../log.ts'
import type { CallRequest } from './call-request.ts'
import type { Mesh } from './mesh.ts'
import type { Asked } from './parse.ts'

/**
 * Claims the caller's `Idempotency-Key`, where there is one, before anything is held. The content of an answer is not
 * kept, so a repeat never gets it again: it is told where the first one stands.
 * @throws MeshError `idempotency_in_progress`, `idempotency_replay` or `idempotency_conflict`.
 */
export async function claim(request: CallRequest, asked: Asked, caller: Caller, mesh: Mesh): Promise<void> {
  if (!asked.idempotency) return
  const claimed = await mesh.claims.claim({
    accountId: caller.account.id,
    livemode: caller.livemode,
    callId: request.id,
    ...asked.idempotency,
  })
  switch (claimed.outcome) {
    case 'claimed':
      return
    case 'in_progress':
      throw new MeshError('idempotency_in_progress', 'The first call with this Idempotency-Key still runs.')
    case 'conflict':
      throw new MeshError(
        'idempotency_conflict',
        'This Idempotency-Key was used with another body. Use a new key.',
      )
    case 'replay':
      throw new MeshError(
        'idempotency_replay',
        'A call with this Idempotency-Key was billed, and its answer is not kept. Use a new key to run it again.',
        {
          metadata: {
            receiptId: claimed.receiptId ?? null,
            totalUsd: formatUsd(claimed.totalNano),
          },
        },
      )
  }
}

/** Frees the key of a call that is refused and costs nothing. Never rejects: the refusal is what the caller must see. */
export async function unclaim(callId: CallId, asked: Asked, mesh: Mesh): Promise<void> {
  if (!asked.idempotency) return
  await mesh.claims.release(callId).catch((error: unknown) => {
    mesh.log.warn('an idempotency key stays claimed for a while', {
      callId,
      ...describeError(error),
    })
  })
}
