import type { BillingReason } from './billing-reasons.ts'
import type { AccountId, CallId, KeyId, LedgerEntryId, ProjectId, ReceiptId } from './ids.ts'
import type { PrivacyReport } from './privacy.ts'
import type { TokenBuckets } from './token-buckets.ts'

/** What a receipt says. USD as decimal strings, prices in USD per million tokens. */
export interface ReceiptClaims {
  readonly version: 1
  readonly issuer: string
  readonly receiptId: ReceiptId
  readonly requestId: CallId
  readonly issuedAt: string
  readonly accountId: AccountId
  readonly projectId: ProjectId
  readonly keyId: KeyId
  readonly livemode: boolean
  readonly modelRequested: string | null
  readonly modelServed: string | null
  readonly provider: string | null
  readonly route: readonly { readonly model: string; readonly provider: string; readonly outcome: string }[]
  readonly tokens: TokenBuckets
  readonly usageSource: 'reported' | 'estimated' | 'none'
  readonly priceListId: string | null
  readonly pricesUsdPerMillion: Readonly<Record<string, string>> | null
  readonly upstreamCostUsd: string
  readonly marginUsd: string
  readonly totalUsd: string
  readonly currency: 'USD'
  readonly billingReason: BillingReason
  readonly finishReason: string | null
  readonly firstTokenMs: number | null
  readonly durationMs: number
  readonly privacy: PrivacyReport
  readonly attestationHash: string | null
  readonly ledgerEntryId: LedgerEntryId | null
}

/** A receipt as MESH shows it: the claims for people, and the signed bytes that prove them. */
export interface Receipt {
  readonly id: ReceiptId
  readonly object: 'receipt'
  readonly livemode: boolean
  readonly receipt: ReceiptClaims
  /** A compact JWS (RFC 7515) over the bytes of the claims. */
  readonly jws: string
}

/** A public key of MESH's (RFC 8037). */
export interface ReceiptKey {
  readonly kty: 'OKP'
  readonly crv: 'Ed25519'
  readonly x: string
  readonly kid: string
  readonly alg?: 'Ed25519'
  readonly use?: 'sig'
}

/** The keys that a MESH signs receipts with, and those that it used to: `/.well-known/mesh-receipt-keys.json`. */
export interface ReceiptKeys {
  readonly keys: readonly ReceiptKey[]
}

/** Thrown for a receipt that is not what a MESH with these keys has signed. `message` says what is wrong with it. */
export class ReceiptError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ReceiptError'
  }
}

const SIGNATURE_BYTES = 64
const PUBLIC_KEY_BYTES = 32

/**
 * Verifies a receipt with nothing but MESH's public keys: no network and no MESH key. Takes the receipt as
 * `mesh.receipts` gives it, or its JWS alone. Of a whole receipt every field is held against the signed bytes, so what
 * people read is what was signed.
 * @returns what was signed
 * @throws ReceiptError where anything in receipt, key or signature is not as it was when it was signed.
 * @example
 * const claims = await verifyReceipt(receipt, JSON.parse(await readFile('keys.json', 'utf8')))
 * console.log(claims.totalUsd)
 */
export async function verifyReceipt(receipt: Receipt | string, keys: ReceiptKeys): Promise<ReceiptClaims> {
  const jws = typeof receipt === 'string' ? receipt : receipt?.jws
  if (typeof jws !== 'string') throw new ReceiptError('This is not a receipt: it has no jws.')
  const parts = jws.split('.')
  const [header, payload, signature] = parts.map(bytesOf)
  if (parts.length !== 3 || !header || !payload || !signature) {
    throw new ReceiptError('The jws is not three parts of base64url, joined by dots.')
  }
  const publicKey = await importKey(keyNamedBy(header, keys))
  const signed = new TextEncoder().encode(jws.slice(0, jws.lastIndexOf('.')))
  const isGenuine =
    signature.length === SIGNATURE_BYTES &&
    (await crypto.subtle.verify('Ed25519', publicKey, signature, signed))
  if (!isGenuine) {
    throw new ReceiptError(
      'The signature does not fit: the receipt was changed, or this MESH did not make it.',
    )
  }
  const claims = claimsIn(payload)
  if (typeof receipt !== 'string') requireSameAsSigned(receipt, claims)
  return claims
}

/** The one header that receipts have. Other algorithms and other kinds of token are not looked at. */
function keyNamedBy(header: Uint8Array<ArrayBuffer>, keys: ReceiptKeys): ReceiptKey {
  const parsed = parseJson(header)
  const isHeader =
    isObject(parsed) &&
    sameJson(Object.keys(parsed).sort(), ['alg', 'kid', 'typ']) &&
    parsed.alg === 'Ed25519' &&
    parsed.typ === 'mesh-receipt+jws'
  if (!isHeader) throw new ReceiptError('The header is not that of a MESH receipt.')
  if (!isObject(keys) || !Array.isArray(keys.keys)) {
    throw new ReceiptError('The keys are not a JWK set: {"keys": […]}, as mesh.receipts.keys() gives it.')
  }
  const key = keys.keys.find((each) => isObject(each) && each.kid === parsed.kid)
  if (!key) throw new ReceiptError('The receipt was signed with a key that is not among the keys given.')
  return key
}

/** A key is named by its own hash (RFC 7638), so that none can stand under another's name. */
async function importKey(key: ReceiptKey): Promise<CryptoKey> {
  const { kty, crv, x, kid, alg = 'Ed25519', use = 'sig' } = key
  const bytes = typeof x === 'string' ? bytesOf(x) : undefined
  const isEd25519 = kty === 'OKP' && crv === 'Ed25519' && alg === 'Ed25519' && use === 'sig'
  if (!isEd25519 || bytes?.length !== PUBLIC_KEY_BYTES) {
    throw new ReceiptError('The key that the receipt names is not a public Ed25519 key.')
  }
  const members = new TextEncoder().encode(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`)
  const thumbprint = new Uint8Array(await crypto.subtle.digest('SHA-256', members))
  if (base64url(thumbprint) !== kid) {
    throw new ReceiptError('The key that the receipt names is not the key of that name: its hash differs.')
  }
  return crypto.subtle.importKey('raw', bytes, 'Ed25519', false, ['verify'])
}

function claimsIn(payload: Uint8Array): ReceiptClaims {
  const claims = parseJson(payload)
  if (!isObject(claims) || claims.version !== 1) {
    throw new ReceiptError(
      'The signed bytes are not a receipt of version 1, the only one that this SDK reads.',
    )
  }
  return claims as unknown as ReceiptClaims
}

function requireSameAsSigned(shown: Receipt, claims: ReceiptClaims): void {
  const { receiptId, livemode } = claims
  const signed = { id: receiptId, object: 'receipt', livemode, receipt: claims, jws: shown.jws }
  if (sameJson(shown, signed)) return
  throw new ReceiptError('What the receipt shows is not what was signed.')
}

/** Whether two values are the same as JSON, whatever the order of their members. */
function sameJson(one: unknown, other: unknown): boolean {
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((item, at) => sameJson(item, other[at]))
  }
  if (!isObject(one) || !isObject(other)) return Object.is(one, other)
  const names = Object.keys(one)
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => Object.hasOwn(other, name) && sameJson(one[name], other[name]))
  )
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
}

/** Decodes base64url, strictly: what is not exactly as an encoder writes it is `undefined`, spare bits included. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[0-9A-Za-z_-]+$/.test(text)) return undefined
  try {
    const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'))
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0))
    return base64url(bytes) === text ? bytes : undefined
  } catch {
    return undefined
  }
}

function base64url(bytes: Uint8Array): string {
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}
