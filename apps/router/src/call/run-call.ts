import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import { withoutCacheWishes } from '@mesh/engine/prompt-caches.ts'
import { type Engine, run } from '@mesh/engine/run.ts'
import type { RunOutcome } from '@mesh/engine/run-outcome.ts'
import { MeshError } from '../errors.ts'
import { describeError } from '../log.ts'
import { receiptIdOf } from '../records/receipt.ts'
import type { Admitted } from './admit.ts'
import type { CallReply } from './call-reply.ts'
import type { CallRequest } from './call-request.ts'
import type { LiveCall } from './live-calls.ts'
import type { Mesh } from './mesh.ts'
import { privacyFloor } from './plan-input.ts'
import { privacyReport, weakestReport } from './privacy.ts'
import { rateLimitHeaders } from './reserve.ts'
import { runFailure } from './run-failure.ts'
import { servedHeaders } from './served-headers.ts'

/**
 * Runs an admitted call against its world's providers. It never rejects: money is held by now, so even a fault of our
 * own is an outcome that can be settled.
 */
export async function runCall(
  request: CallRequest,
  { asked, caller, plan, hold }: Admitted,
  reply: CallReply,
  live: LiveCall,
  mesh: Mesh,
): Promise<RunOutcome> {
  const engine = engineFor(asked.steering, caller.livemode, mesh)
  const startedAtMs = engine.clock.monotonic()
  const { privacy } = asked.request
  const isStandard = privacy.mode === 'standard' && privacyFloor(privacy, caller) === 'standard'
  const { ask, removed } = isStandard
    ? { ask: asked.request.ask, removed: [] }
    : withoutCacheWishes(asked.request.ask)
  const endpoints = plan.candidates.map(({ endpoint }) => endpoint)
  request.answer.setHeaders({ 'x-mesh-receipt-id': receiptIdOf(request.id), ...rateLimitHeaders(hold.rates) })
  request.answer.setHeadHeaders((served) =>
    servedHeaders(
      served,
      served
        ? privacyReport(privacy, served.endpoint, caller.livemode)
        : weakestReport(privacy, endpoints, caller.livemode),
    ),
  )
  try {
    const outcome = await run({
      engine,
      plan,
      // What test calls simulate is nobody's health.
      ...(caller.livemode ? { gate: mesh.health.gateFor(caller.account.id) } : {}),
      ask,
      shape: asked.request.shape,
      budget: hold.budget,
      sink: request.answer,
      openReply: (served, input) => reply.open(served, input),
      signal: live.signal,
      startedAtMs,
    })
    return { ...outcome, droppedParameters: [...outcome.droppedParameters, ...removed] }
  } catch (error) {
    mesh.log.error('a call failed inside the engine', { callId: request.id, ...describeError(error) })
    return {
      status: 'failed',
      attempts: [],
      failure: { outcome: 'uncertain', reason: 'server_error' },
      usage: { buckets: EMPTY_BUCKETS, source: 'none', flags: [] },
      contentSent: request.answer.headSent,
      droppedParameters: [],
      durationMs: engine.clock.monotonic() - startedAtMs,
    }
  }
}

/** A test call goes to the simulators, with what it tells them to do. */
function engineFor(steering: string | undefined, livemode: boolean, mesh: Mesh): Engine {
  if (livemode) return mesh.engines.live
  const engine = mesh.engines.test
  if (steering === undefined) return engine
  return {
    ...engine,
    targetFor(endpoint) {
      const target = engine.targetFor(endpoint)
      return target && { ...target, headers: { ...target.headers, 'x-mesh-simulate': steering } }
    },
  }
}

/**
 * Answers at once where MESH itself ends a running call, as when its key is revoked: the call may go on for a while
 * unheard, to learn what the provider bills.
 */
export function whenMeshEnds(live: LiveCall, answer: (ending: MeshError) => void): void {
  const onAbort = (): void => {
    if (live.signal.reason instanceof MeshError) answer(live.signal.reason)
  }
  if (live.signal.aborted) onAbort()
  else live.signal.addEventListener('abort', onAbort, { once: true })
}

/** The error that ends a call, where one does. */
export function endingOf(outcome: RunOutcome, live: LiveCall): MeshError | undefined {
  switch (outcome.status) {
    case 'completed':
    case 'cut':
      return undefined
    case 'client_gone':
      if (live.signal.reason instanceof MeshError) return live.signal.reason
      return new MeshError('client_disconnected', 'The caller left before the end.')
    case 'deadline':
    case 'failed':
      return runFailure(outcome, outcome.failure ?? { outcome: 'uncertain', reason: 'server_error' })
  }
}
