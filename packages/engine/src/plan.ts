import type { Endpoint, EndpointId, ModelId } from '@mesh/catalog/catalog.ts'
import type { PriceSchedule } from '@mesh/catalog/price.ts'

/** Why an endpoint is not in a plan. The order is the order in which the filters run. */
export type ExcludedBy =
  | 'protocol_not_built'
  | 'credential_missing'
  | 'provider_disabled'
  | 'allowed_models'
  | 'allowed_providers'
  | 'privacy_class'
  | 'data_policy'
  | 'provider_only'
  | 'provider_ignore'
  | 'modality'
  | 'parameters'
  | 'context_length'
  | 'max_price'

/** An endpoint that may serve a call, with the prices that the caller would pay there. */
export interface Candidate {
  readonly endpoint: Endpoint
  /** The price list's rates: list price plus mark-up. */
  readonly sellPrices: PriceSchedule
  /** The call's input bound at this endpoint, in tokens. */
  readonly inputTokensMax: number
}

export interface Plan {
  readonly candidates: readonly Candidate[]
  readonly excluded: readonly { readonly endpoint: EndpointId; readonly by: ExcludedBy }[]
  /** The models that were asked for, resolved, the first choice first. */
  readonly models: readonly ModelId[]
  /** The name of the state that the plan was made from, so that it can be replayed. */
  readonly snapshot: string
}
