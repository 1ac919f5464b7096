import type { JsonObject } from '@mesh/engine/ask.ts'
import type { RunOutcome } from '@mesh/engine/run-outcome.ts'
import type { EventAttempt } from '../ledger/books.ts'
import type { Admitted } from './admit.ts'
import type { PrivacyReport } from './privacy.ts'
import type { Hold } from './reserve.ts'

/** The attempts of a call in words and numbers. */
export function attemptsOf(outcome: RunOutcome): EventAttempt[] {
  return outcome.attempts.map(({ candidate, outcome: result, failure, durationMs }) => ({
    model: candidate.endpoint.model,
    provider: candidate.endpoint.provider,
    outcome: result,
    ...(failure ? { reason: failure.reason } : {}),
    ...(failure?.status === undefined ? {} : { status: failure.status }),
    durationMs: Math.round(durationMs),
  }))
}

/**
 * The `routing` object of answers and events: what was asked, what was chosen, and what happened on the way. Names of
 * parameters that MESH does not know are the caller's own words, so they are counted here and named to him alone
 * (`routingForCaller`).
 */
export function routingReport(
  { asked, plan, hold }: Admitted,
  outcome: RunOutcome,
  privacy: PrivacyReport,
): JsonObject {
  const { served } = outcome
  const unknown = asked.request.droppedParameters.length + asked.request.droppedUnnamed
  return {
    api: asked.api,
    requested: [...plan.targets],
    mode: plan.mode,
    rule: plan.rule,
    selected: served ? { model: served.endpoint.model, provider: served.endpoint.provider } : null,
    chain: attemptsOf(outcome).map(({ model, provider, outcome: result, reason }) => ({
      model,
      provider,
      outcome: result,
      reason: reason ?? null,
    })),
    snapshot: plan.snapshot,
    ...outputCap(hold, outcome),
    ...jsonReport(outcome),
    ...(outcome.droppedParameters.length > 0 ? { dropped_params: [...outcome.droppedParameters] } : {}),
    ...(unknown > 0 ? { unknown_params: unknown } : {}),
    privacy: { ...privacy },
  }
}

/** Whether a provider was held to the JSON that was asked for, or asked for it in words, and what came of that. */
function jsonReport({ json }: RunOutcome): JsonObject {
  if (json === undefined) return {}
  return { response_format: json === 'native' ? { mode: 'native' } : { mode: 'emulated', result: json } }
}

/** The output cap that the provider was told, where balance or limits made it less than what was asked for. */
function outputCap(hold: Hold, { outputTokensLowered }: RunOutcome): JsonObject {
  if (outputTokensLowered === undefined) return {}
  const by = hold.loweredBy()
  return { output_cap: outputTokensLowered, ...(by === undefined ? {} : { output_cap_by: by }) }
}

/** The same for the answer: with the names of all parameters that were dropped. */
export function routingForCaller(report: JsonObject, { asked }: Admitted, outcome: RunOutcome): JsonObject {
  const dropped = [...new Set([...asked.request.droppedParameters, ...outcome.droppedParameters])]
  return dropped.length > 0 ? { ...report, dropped_params: dropped } : report
}
