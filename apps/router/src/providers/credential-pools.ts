import type { Endpoint, EndpointId, ProviderId } from '@mesh/catalog/catalog.ts'
import type { Clock } from '@mesh/engine/clock.ts'
import type { Failure } from '@mesh/engine/failure.ts'
import { weightedDraw } from '@mesh/engine/weighted-draw.ts'
import type { Log } from '../log.ts'
import type { Sensitive } from '../sensitive.ts'

/** One of an operator's credentials at a provider. */
export interface Credential {
  /** What the operator calls it: all that is ever shown of it. */
  readonly name: string
  readonly secret: Sensitive<string>
  /** Its share of the calls, beside the weights of the others. */
  readonly weight: number
}

/** A credential as a call carries it. */
export interface ChosenCredential {
  readonly secret: Sensitive<string>
  /** Tells that the provider turned it away; returns whether another one can be sent in its place. */
  setAside(failure: Failure): boolean
}

/** What an operator is shown of a credential. */
export interface CredentialStanding {
  readonly name: string
  readonly weight: number
  /** `set_aside`: for all of the provider's models, or for those that are named. */
  readonly status: 'serving' | 'set_aside'
  readonly models: readonly string[]
}

/** A credential that was refused, or has used up its quota, is looked at again after this long. */
const REFUSED_MS = 5 * 60_000
/** How long one that was told to slow down rests, where its provider does not say; and at most. */
const RATE_LIMITED_MS = 5_000
const RATE_LIMITED_MAX_MS = 60_000
const UNAUTHORIZED = 401
/** In the place of an endpoint: what concerns a credential wherever it is sent. */
const EVERYWHERE = '*'

/**
 * Chooses among a provider's credentials, and remembers which of them were turned away. An account keeps to one
 * credential a model, for prompt caches lie behind it. With one credential alone there is nothing to choose: it is sent
 * whatever became of it, and its endpoint's health decides.
 */
export class CredentialPools {
  readonly #clock: Clock
  readonly #log: Log
  /** By the secret, so that a new secret under an old name has a clean record; then by endpoint. */
  readonly #untilMs = new Map<string, Map<EndpointId | typeof EVERYWHERE, number>>()

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  choose(
    credentials: readonly Credential[],
    endpoint: Endpoint,
    spreadKey: string,
  ): ChosenCredential | undefined {
    const [first, ...others] = credentials
    if (!first) return undefined
    if (others.length === 0) return { secret: first.secret, setAside: () => false }
    const nowMs = this.#clock.monotonic()
    const drawOf = ({ name, weight }: Credential) =>
      weightedDraw(`${name}/${spreadKey}/${endpoint.id}`, weight)
    const chosen = credentials.reduce((best, next) => {
      const difference = this.#waitMs(next, endpoint.id, nowMs) - this.#waitMs(best, endpoint.id, nowMs)
      if (difference !== 0) return difference < 0 ? next : best
      return drawOf(next) > drawOf(best) ? next : best
    })
    return {
      secret: chosen.secret,
      setAside: (failure) => {
        this.#setAside(chosen, endpoint, failure)
        const againMs = this.#clock.monotonic()
        return credentials.some((other) => this.#waitMs(other, endpoint.id, againMs) === 0)
      },
    }
  }

  standings(provider: ProviderId, credentials: readonly Credential[]): readonly CredentialStanding[] {
    const nowMs = this.#clock.monotonic()
    return credentials.map(({ name, weight, secret }) => {
      const asideAt = [...(this.#untilMs.get(secret.reveal()) ?? [])].flatMap(([id, untilMs]) =>
        untilMs > nowMs ? [id] : [],
      )
      return {
        ...{ name, weight },
        status: credentials.length > 1 && asideAt.length > 0 ? 'set_aside' : 'serving',
        models: asideAt.includes(EVERYWHERE)
          ? []
          : asideAt.map((id) => id.replace(`@${provider}`, '')).sort(),
      }
    })
  }

  /** How long a credential is left alone yet, at an endpoint. */
  #waitMs({ secret }: Credential, endpoint: EndpointId, nowMs: number): number {
    const known = this.#untilMs.get(secret.reveal())
    if (!known) return 0
    return Math.max(0, (known.get(endpoint) ?? 0) - nowMs, (known.get(EVERYWHERE) ?? 0) - nowMs)
  }

  /** A refusal of the credential itself counts everywhere; a right, a rate or a quota may be one model's. */
  #setAside(
    { name, secret }: Credential,
    { id, provider, model }: Endpoint,
    { reason, status, retryAfterMs }: Failure,
  ): void {
    const asideMs =
      reason === 'rate_limited' ? Math.min(retryAfterMs ?? RATE_LIMITED_MS, RATE_LIMITED_MAX_MS) : REFUSED_MS
    const known = this.#untilMs.get(secret.reveal()) ?? new Map()
    this.#untilMs.set(secret.reveal(), known)
    known.set(status === UNAUTHORIZED ? EVERYWHERE : id, this.#clock.monotonic() + asideMs)
    const fields = { provider, model, credential: name, reason, durationMs: asideMs }
    if (reason === 'rate_limited') this.#log.debug('a credential was told to slow down', fields)
    else this.#log.warn('a credential was turned away', fields)
  }
}
