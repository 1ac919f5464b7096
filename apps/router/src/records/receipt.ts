import { formatPricePerMillion, formatUsd, type NanoUsd } from '@mesh/catalog/money.ts'
import type { Rates } from '@mesh/catalog/price.ts'
import { BUCKET_NAMES, type TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { CallId, ReceiptId } from '../ids.ts'
import { siblingId } from '../ids.ts'
import type { CallEvent, Payer } from '../ledger/books.ts'
import type { SigningKey } from './signing-key.ts'

/** What a receipt is made from. Everything in it is metadata; content has no place in it. */
export interface ReceiptFacts {
  readonly issuer: string
  readonly callId: CallId
  readonly payer: Payer
  readonly event: CallEvent
  /** The rates that were applied, mark-up included; absent where nothing is charged for tokens. */
  readonly rates?: Rates
  readonly totalNano: NanoUsd
  readonly upstreamNano: NanoUsd
}

/** Claims of a receipt: the JSON inside the JWS. Money is decimal strings of USD, prices USD per million tokens. */
export interface ReceiptClaims {
  readonly version: 1
  readonly issuer: string
  readonly receiptId: ReceiptId
  readonly requestId: CallId
  readonly issuedAt: string
  readonly accountId: string
  readonly projectId: string
  readonly keyId: string
  readonly livemode: boolean
  readonly modelRequested: string | null
  readonly modelServed: string | null
  readonly provider: string | null
  readonly route: readonly { readonly model: string; readonly provider: string; readonly outcome: string }[]
  readonly tokens: TokenBuckets
  readonly usageSource: CallEvent['usageSource']
  readonly priceListId: string | null
  readonly pricesUsdPerMillion: Readonly<Record<string, string>> | null
  readonly upstreamCostUsd: string
  readonly marginUsd: string
  readonly totalUsd: string
  readonly currency: 'USD'
  readonly billingReason: string
  readonly finishReason: string | null
  readonly firstTokenMs: number | null
  readonly durationMs: number
  readonly privacy: Readonly<Record<string, unknown>>
  readonly attestationHash: string | null
  readonly ledgerEntryId: string | null
}

/** The id of a call's receipt: known before the call has run, for it goes into the response's headers. */
export function receiptIdOf(callId: CallId): ReceiptId {
  return siblingId('rcpt', callId)
}

/** Fixes a receipt as bytes. They are stored, hashed and signed as they are and never serialised again. */
export function receiptPayload(facts: ReceiptFacts): Uint8Array {
  return Buffer.from(JSON.stringify(claimsOf(facts)))
}

function claimsOf({
  issuer,
  callId,
  payer,
  event,
  rates,
  totalNano,
  upstreamNano,
}: ReceiptFacts): ReceiptClaims {
  return {
    version: 1,
    issuer,
    receiptId: receiptIdOf(callId),
    requestId: callId,
    issuedAt: event.createdAt.toISOString(),
    accountId: payer.accountId,
    projectId: payer.projectId,
    keyId: payer.keyId,
    livemode: payer.livemode,
    modelRequested: event.modelRequested ?? null,
    modelServed: event.modelServed ?? null,
    provider: event.provider ?? null,
    route: event.attempts.map(({ model, provider, outcome }) => ({ model, provider, outcome })),
    tokens: event.buckets,
    usageSource: event.usageSource,
    priceListId: event.priceListId ?? null,
    pricesUsdPerMillion: rates ? pricesOf(rates) : null,
    upstreamCostUsd: formatUsd(upstreamNano),
    marginUsd: formatUsd(totalNano - upstreamNano),
    totalUsd: formatUsd(totalNano),
    currency: 'USD',
    billingReason: event.billingReason,
    finishReason: event.finishReason ?? null,
    firstTokenMs: event.firstTokenMs ?? null,
    durationMs: event.durationMs,
    privacy: event.privacy,
    attestationHash: null,
    ledgerEntryId: totalNano > 0n ? siblingId('led', callId) : null,
  }
}

/** A price list has few rates, and each is written for many calls. */
const WRITTEN_PRICES = new WeakMap<Rates, Readonly<Record<string, string>>>()

function pricesOf(rates: Rates): Readonly<Record<string, string>> {
  const written = WRITTEN_PRICES.get(rates)
  if (written) return written
  const prices = Object.fromEntries(BUCKET_NAMES.map((name) => [name, formatPricePerMillion(rates[name])]))
  WRITTEN_PRICES.set(rates, prices)
  return prices
}

/** RFC 7515: what is signed is the encoded header, a dot, and the encoded payload. */
export function signingInput(keyId: string, payload: Uint8Array): string {
  const header = JSON.stringify({ alg: 'Ed25519', kid: keyId, typ: 'mesh-receipt+jws' })
  return `${Buffer.from(header).toString('base64url')}.${Buffer.from(payload).toString('base64url')}`
}

/** Signs a receipt's bytes for a compact JWS with `alg` Ed25519 (RFC 9864). */
export function signReceipt(payload: Uint8Array, key: SigningKey): Buffer {
  return key.sign(Buffer.from(signingInput(key.keyId, payload)))
}
