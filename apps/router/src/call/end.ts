import { formatUsd } from '@mesh/catalog/money.ts'
import type { RunOutcome } from '@mesh/engine/run-outcome.ts'
import type { ReplyUsage } from '@mesh/engine/shapes/reply.ts'
import type { MeshError } from '../errors.ts'
import { errorAnswer } from '../http/error-answer.ts'
import { receiptIdOf } from '../records/receipt.ts'
import type { CallReply } from './call-reply.ts'
import type { CallRequest } from './call-request.ts'
import { servedHeaders } from './served-headers.ts'
import type { Settled } from './settle.ts'

/** Sends the end of an answer that is charged: the last events of a stream, or the whole body with its cost headers. */
export function end(request: CallRequest, reply: CallReply, outcome: RunOutcome, settled: Settled): void {
  const { answer } = request
  const closing = reply.finish({
    finishReason: outcome.finishReason ?? 'stop',
    usage: usageOf(outcome, settled),
    routing: settled.routing,
  })
  if (answer.headSent) {
    answer.end(closing)
    return
  }
  const { totalNano, upstreamNano } = settled.charge
  answer.setHeaders({
    ...servedHeaders(outcome.served, settled.privacy),
    'x-mesh-upstream-cost-usd': formatUsd(upstreamNano),
    'x-mesh-margin-usd': formatUsd(totalNano - upstreamNano),
    'x-mesh-total-usd': formatUsd(totalNano),
  })
  answer.whole(200, closing)
}

/** Ends an answer with an error: in the stream where one has begun, else as an answer of its own. */
export function endWithError(
  request: CallRequest,
  error: MeshError,
  begun?: { readonly reply: CallReply; readonly outcome?: RunOutcome; readonly settled?: Settled },
): void {
  const { answer, id, shape } = request
  if (!answer.headSent) {
    const { status, headers, body } = errorAnswer(error, id, shape)
    answer.setHeaders(headers)
    answer.whole(status, body)
    return
  }
  if (!begun) {
    answer.end('')
    return
  }
  const { reply, outcome, settled } = begun
  answer.end(
    reply.fail({
      error: error.facts(),
      receiptId: receiptIdOf(id),
      ...(outcome && settled && outcome.usage.source !== 'none' ? { usage: usageOf(outcome, settled) } : {}),
    }),
  )
}

function usageOf({ usage }: RunOutcome, { charge }: Settled): ReplyUsage {
  return {
    buckets: usage.buckets,
    upstreamNano: charge.upstreamNano,
    marginNano: charge.totalNano - charge.upstreamNano,
  }
}
