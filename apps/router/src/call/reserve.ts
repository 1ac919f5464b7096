import { formatUsd, type NanoUsd } from '@mesh/catalog/money.ts'
import type { Plan } from '@mesh/engine/plan.ts'
import type { Budget } from '@mesh/engine/run-outcome.ts'
import type { Caller } from '../accounts/caller.ts'
import { MeshError } from '../errors.ts'
import type { CallId } from '../ids.ts'
import type { HoldRefused, LimitName, RateWindow } from '../ledger/books.ts'
import { sizeHold } from './hold-size.ts'
import { type Mesh, termsFor } from './mesh.ts'
import type { Asked } from './parse.ts'

/** Money that is set aside for a call, and what of it is known later. */
export interface Hold {
  readonly callId: CallId
  readonly priceListId: string
  readonly dispatchedAt: Date
  readonly budget: Budget
  /** What is held now: it grows with the budget. */
  readonly heldNano: () => NanoUsd
  readonly heldTokens: () => number
  /** The balance, or the limit, that did not carry all of the output that was to be held. */
  readonly loweredBy: () => LimitName | undefined
  readonly rates: RateWindow
}

export type Reservation = { readonly type: 'held'; readonly hold: Hold } | { readonly type: 'stale' }

/**
 * Sets aside what a call may cost, in the books, before a byte of it leaves.
 * @throws MeshError `insufficient_credits`, `limit_exceeded`, `rate_limit_exceeded`, `too_many_concurrent`.
 */
export async function reserve(
  callId: CallId,
  asked: Asked,
  plan: Plan,
  caller: Caller,
  mesh: Mesh,
): Promise<Reservation> {
  const [first] = plan.candidates
  if (!first) throw new Error('a plan without candidates reached the books')
  const { shape } = asked.request
  const size = sizeHold({
    candidates: plan.candidates,
    maxOutputTokens: shape.maxOutputTokens,
    choices: shape.choices,
    policy: mesh.policy.holds,
  })
  const decision = await mesh.books.hold({
    callId,
    payer: caller.payer,
    inputNano: size.inputNano,
    inputTokens: size.inputTokens,
    outputPicoPerToken: size.outputPicoPerToken,
    outputTokensWanted: size.outputTokensWanted,
    outputTokensFloor: size.outputTokensFloor,
    upstreamCeilingNano: size.upstreamCeilingNano,
    model: first.endpoint.model,
    provider: first.endpoint.provider,
    priceListId: termsFor(mesh, caller.account.id).prices.id,
  })
  if (!decision.granted) {
    if (decision.reason === 'stale') return { type: 'stale' }
    throw refusal(decision)
  }
  let heldNano = decision.heldNano
  let heldOutputTokens = decision.outputTokens
  let { loweredBy } = decision
  const isGrowing = size.outputTokensCap > size.outputTokensWanted
  const budget: Budget = {
    get outputTokensHeld() {
      return heldOutputTokens
    },
    // What is held whole is never more than was granted: that is the cap that the provider is told.
    outputTokensCap: isGrowing ? size.outputTokensCap : decision.outputTokens,
    async extend(outputTokensWanted) {
      const extended = await mesh.books.extend({
        callId,
        payer: caller.payer,
        outputTokensHeld: heldOutputTokens,
        outputTokensWanted,
        outputPicoPerToken: size.outputPicoPerToken,
        upstreamPicoPerToken: size.upstreamPicoPerToken,
      })
      // A hold that was reaped meanwhile comes back as nothing; what the call may cost is still what was held for it.
      if (extended.heldNano > heldNano) heldNano = extended.heldNano
      if (extended.outputTokens > heldOutputTokens) heldOutputTokens = extended.outputTokens
      if (extended.outputTokens < outputTokensWanted) loweredBy = extended.loweredBy ?? loweredBy
      return heldOutputTokens
    },
  }
  return {
    type: 'held',
    hold: {
      callId,
      priceListId: termsFor(mesh, caller.account.id).prices.id,
      dispatchedAt: new Date(mesh.seams.now()),
      budget,
      heldNano: () => heldNano,
      heldTokens: () => size.inputTokens + heldOutputTokens,
      loweredBy: () => loweredBy,
      rates: decision.rates,
    },
  }
}

function refusal(decision: HoldRefused): MeshError {
  const amounts = {
    ...(decision.scope === undefined ? {} : { scope: decision.scope }),
    ...(decision.limit === undefined ? {} : { limit: decision.limit }),
    ...(decision.neededNano === undefined ? {} : { neededUsd: formatUsd(decision.neededNano) }),
    ...(decision.availableNano === undefined ? {} : { availableUsd: formatUsd(decision.availableNano) }),
  }
  const details = {
    metadata: amounts,
    ...(decision.rates ? { headers: rateLimitHeaders(decision.rates) } : {}),
    ...(decision.retryAfterMs === undefined ? {} : { retryAfterMs: decision.retryAfterMs }),
  }
  switch (decision.reason) {
    case 'insufficient_credits':
      return new MeshError('insufficient_credits', insufficientMessage(decision), details)
    case 'rate_limit_exceeded':
      return new MeshError(
        'rate_limit_exceeded',
        `${limitWords(decision)} is used up for this minute.`,
        details,
      )
    case 'too_many_concurrent':
      return new MeshError(
        'too_many_concurrent',
        `${limitWords(decision)} is reached: wait until a running call has ended.`,
        details,
      )
    case 'limit_exceeded':
    case 'stale':
      return new MeshError(
        'limit_exceeded',
        `${limitWords(decision)} cannot carry this call. Lower max_tokens, or have the limit raised.`,
        details,
      )
  }
}

function insufficientMessage({ neededNano, availableNano }: HoldRefused): string {
  const needed = neededNano === undefined ? '' : ` This call needs up to $${formatUsd(neededNano)};`
  const available = availableNano === undefined ? '' : ` $${formatUsd(availableNano)} is free.`
  return `Not enough credit.${needed}${available} Lower max_tokens, or add credit.`
}

function limitWords({ limit, scope }: HoldRefused): string {
  return `${limit ?? 'A limit'} of the ${scope ?? 'account'}`
}

/** OpenAI's six rate-limit headers, as far as there are limits (https://platform.openai.com/docs/guides/rate-limits). */
export function rateLimitHeaders(rates: RateWindow): Record<string, string> {
  const reset = `${Math.max(0, Math.ceil(rates.resetMs / 1000))}s`
  const headers: Record<string, string> = {}
  if (rates.requestLimit !== undefined) {
    headers['x-ratelimit-limit-requests'] = String(rates.requestLimit)
    headers['x-ratelimit-remaining-requests'] = String(rates.requestsRemaining ?? 0)
    headers['x-ratelimit-reset-requests'] = reset
  }
  if (rates.tokenLimit !== undefined) {
    headers['x-ratelimit-limit-tokens'] = String(rates.tokenLimit)
    headers['x-ratelimit-remaining-tokens'] = String(rates.tokensRemaining ?? 0)
    headers['x-ratelimit-reset-tokens'] = reset
  }
  return headers
}
