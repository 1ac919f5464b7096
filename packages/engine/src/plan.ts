import type { Endpoint, EndpointId, ModelId, ProviderId } from '@mesh/catalog/catalog.ts'
import type { PriceSchedule } from '@mesh/catalog/price.ts'
import { type Mode, modeOf } from '@mesh/catalog/target.ts'
import type { AskShape, InputBound, PrivacyClass, RouteRequest } from './ask.ts'
import { type AutoRule, autoRuleFor } from './auto-rules.ts'
import { type ExcludedBy, excludedBy, type FilterCall, filterCallOf } from './plan-filters.ts'
import { type CRITERIA, criteriaFor, type Ordering, ordered, orderingOf } from './plan-order.ts'
import type { PlanEntry, PlanSnapshot } from './plan-snapshot.ts'

/** An endpoint that may serve a call, with the prices that the caller would pay there. */
export interface Candidate {
  readonly endpoint: Endpoint
  /** The price list's rates: list price plus mark-up. */
  readonly sellPrices: PriceSchedule
  /** The call's input bound at this endpoint, in tokens. */
  readonly inputTokensMax: number
}

export interface Plan {
  /** All that may be tried, in this order: the hold covers every one of them. */
  readonly candidates: readonly Candidate[]
  /** In the order of ids, but for those that had no place (`attempts_max`): they come last, in their own order. */
  readonly excluded: readonly { readonly endpoint: EndpointId; readonly by: ExcludedBy }[]
  /** What was asked for, the first choice first. */
  readonly targets: readonly ModelId[]
  /** How the first choice was found: by its name, by a mode, or among the models of a tier. */
  readonly mode: PlanMode
  /** The rule that ordered the endpoints of the first choice. */
  readonly rule: string
  /** The name of the state that the plan was made from, so that it can be replayed. */
  readonly snapshot: string
}

export type PlanMode = 'models' | 'tier' | Mode

/** What key, project, account and operator allow, already merged: the strictest of each. */
export interface PlanPolicy {
  readonly allowedModels?: ReadonlySet<ModelId>
  readonly allowedProviders?: ReadonlySet<ProviderId>
  /** The highest of all floors, the request's own included. */
  readonly minimumPrivacyClass?: PrivacyClass
  readonly livemode: boolean
}

export interface PlanInput {
  /** The ids of models, modes and tiers that were asked for, the first choice first. Duplicates are dropped. */
  readonly targets: readonly ModelId[]
  readonly shape: AskShape
  readonly route: RouteRequest
  readonly policy: PlanPolicy
  readonly snapshot: PlanSnapshot
  /**
   * What calls are spread by where endpoints have weights: the call's id, so that anyone can make the plan again.
   * A session's calls stay together by the session's own.
   */
  readonly spreadKey: string
  /** The hard bound on a call's input tokens at an endpoint (`input-bound.ts`). */
  readonly inputTokensMax: (bound: InputBound, endpoint: Endpoint) => number
}

/** However many endpoints could serve a call: each that is tried costs time, and each that may be is held for. */
export const ATTEMPTS_MAX = 6

/**
 * Decides who may serve a call, and in which order. Pure and deterministic: the same input gives the same plan, in
 * whatever order the catalogue lists its models and endpoints, and it never reads content.
 *
 * Hard filters run in the order of `ExcludedBy`; each endpoint that is removed carries the first word that applies.
 * Then the caller's order of targets rules; within a target the caller's order of providers; then the order of the
 * mode, tier or `provider.sort`; then the endpoint's id. Without fallbacks only the first candidate stays; with them
 * as many as may be tried.
 */
export function plan(input: PlanInput): Plan {
  const targets = [...new Set(input.targets)]
  const excluded = new Map<EndpointId, ExcludedBy>()
  const ranked = new Set<PlanEntry>()
  /** The best of every target. */
  const best = new Set<PlanEntry>()
  const calls = {
    named: filterCallOf(input, false),
    chosen: filterCallOf(input, true),
    ordering: orderingOf(input),
  }
  for (const target of targets) {
    const entries = rankedOf(target, calls, excluded)
    if (entries[0]) best.add(entries[0])
    for (const entry of entries) ranked.add(entry)
  }
  // What one target cannot use another may: whoever names a model is sent there without what it does not take.
  if (targets.length > 1 && excluded.size > 0) {
    for (const { endpoint } of ranked) excluded.delete(endpoint.id)
  }
  const tried = input.route.allowFallbacks ? worthTrying(ranked, best) : firstOf(ranked)
  const removed = [...excluded].map(([endpoint, by]) => ({ endpoint, by }))
  if (targets.length > 1) removed.sort((a, b) => (a.endpoint < b.endpoint ? -1 : 1))
  if (input.route.allowFallbacks) {
    for (const entry of ranked) {
      if (!tried.has(entry)) removed.push({ endpoint: entry.endpoint.id, by: 'attempts_max' })
    }
  }
  return {
    candidates: [...tried].map((entry) => candidateAt(entry, input)),
    excluded: removed,
    targets,
    ...wayOf(targets[0], input),
    snapshot: input.snapshot.id,
  }
}

/** The endpoints of one target that may serve the call, in order. What is removed is noted with its word. */
function rankedOf(
  target: ModelId,
  calls: { readonly named: FilterCall; readonly chosen: FilterCall; readonly ordering: Ordering },
  excluded: Map<EndpointId, ExcludedBy>,
): readonly PlanEntry[] {
  const { by, entries, autoRule } = choiceOf(target, calls.named)
  const call = by === 'models' ? calls.named : calls.chosen
  const left: PlanEntry[] = []
  for (const entry of entries) {
    const word = excludedBy(entry, call)
    if (!word) left.push(entry)
    else if (!excluded.has(entry.endpoint.id)) excluded.set(entry.endpoint.id, word)
  }
  return ordered(left, criteriaFor(by, calls.named.route.sort), autoRule, calls.ordering)
}

/** What a target stands for, and by what its endpoints are ordered. */
interface Choice {
  readonly by: keyof typeof CRITERIA
  readonly entries: readonly PlanEntry[]
  readonly autoRule?: AutoRule
}

function choiceOf(target: ModelId, { snapshot: { index }, shape }: PlanInput): Choice {
  const mode = modeOf(target)
  if (mode === 'auto') return { by: mode, entries: index.chat, autoRule: autoRuleFor(shape) }
  if (mode) return { by: mode, entries: index.chat }
  const ofTier = index.ofTier.get(target)
  if (ofTier) return { by: 'tier', entries: ofTier }
  return { by: 'models', entries: index.ofModel.get(target) ?? [] }
}

/** How the first choice was found, in the words of `routing`. */
function wayOf(target: ModelId | undefined, input: PlanInput): Pick<Plan, 'mode' | 'rule'> {
  const { route } = input
  if (target === undefined) return { mode: 'models', rule: 'price' }
  const { by, autoRule, entries } = choiceOf(target, input)
  if (by === 'models') {
    const { preferences } = input.snapshot
    const isPreferred = entries.some(({ endpoint }) => preferences.has(endpoint.provider))
    const rule = route.sort ?? (isPreferred ? 'operator' : 'price')
    return { mode: by, rule: route.order.length > 0 ? 'provider_order' : rule }
  }
  const rule = autoRule?.id ?? (by === 'tier' ? target.slice('mesh/'.length) : by)
  return { mode: by, rule: route.sort ? `${rule}.by_${route.sort}` : rule }
}

function firstOf(ranked: ReadonlySet<PlanEntry>): ReadonlySet<PlanEntry> {
  const [first] = ranked
  return new Set(first ? [first] : [])
}

/**
 * The best endpoint of every target has a place before the second best of any, so that a fault of one model (its
 * context, its only provider) never uses up the places of the others. The order stays.
 */
function worthTrying(ranked: ReadonlySet<PlanEntry>, best: ReadonlySet<PlanEntry>): ReadonlySet<PlanEntry> {
  if (ranked.size <= ATTEMPTS_MAX) return ranked
  const places = new Set([...best].slice(0, ATTEMPTS_MAX))
  for (const entry of ranked) {
    if (places.size === ATTEMPTS_MAX) break
    places.add(entry)
  }
  const tried = new Set<PlanEntry>()
  for (const entry of ranked) {
    if (tried.size === places.size) break
    if (places.has(entry)) tried.add(entry)
  }
  return tried
}

function candidateAt({ endpoint, sellPrices }: PlanEntry, { shape, inputTokensMax }: PlanInput): Candidate {
  return { endpoint, sellPrices, inputTokensMax: inputTokensMax(shape.inputTokensBound, endpoint) }
}
