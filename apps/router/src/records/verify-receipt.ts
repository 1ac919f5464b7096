import { createPublicKey, verify } from 'node:crypto'
import { z } from 'zod'

const headerSchema = z.strictObject({
  alg: z.literal('Ed25519'),
  kid: z.string(),
  typ: z.literal('mesh-receipt+jws'),
})

const keySetSchema = z.object({
  keys: z.array(
    z.object({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string(), kid: z.string() }),
  ),
})

export type ReceiptVerdict =
  | { readonly valid: true; readonly claims: Readonly<Record<string, unknown>> }
  | { readonly valid: false; readonly reason: string }

/**
 * Verifies a receipt with nothing but the published keys (`/.well-known/mesh-receipt-keys.json`): no network, no
 * database. Only `alg` Ed25519 and our own `typ` are taken, whatever the header claims.
 */
export function verifyReceipt(jws: string, keySet: unknown): ReceiptVerdict {
  const parts = jws.trim().split('.')
  const [header, payload, signature] = parts
  const isCompact = parts.length === 3 && parts.every(isBase64url)
  if (!isCompact || header === undefined || payload === undefined || signature === undefined) {
    return { valid: false, reason: 'This is not a compact JWS: three parts of base64url, joined by dots.' }
  }
  const parsedHeader = headerSchema.safeParse(parseJson(header))
  if (!parsedHeader.success) return { valid: false, reason: 'The header is not that of a MESH receipt.' }
  const keys = keySetSchema.safeParse(keySet)
  if (!keys.success) return { valid: false, reason: 'The key file is not a set of Ed25519 keys.' }
  const key = keys.data.keys.find(({ kid }) => kid === parsedHeader.data.kid)
  if (!key) return { valid: false, reason: 'The receipt names a key that is not in the key file.' }
  const { kty, crv, x } = key
  const publicKey = createPublicKey({ key: { kty, crv, x }, format: 'jwk' })
  const genuine = verify(
    null,
    Buffer.from(`${header}.${payload}`),
    publicKey,
    Buffer.from(signature, 'base64url'),
  )
  if (!genuine)
    return { valid: false, reason: 'The signature does not fit: the receipt was changed, or is not ours.' }
  const claims = z.record(z.string(), z.unknown()).safeParse(parseJson(payload))
  if (!claims.success) return { valid: false, reason: 'The signed bytes are not a JSON object.' }
  return { valid: true, claims: claims.data }
}

/** Whether a text is just as an encoder writes it: Node also takes other alphabets, padding and spare bits. */
function isBase64url(text: string): boolean {
  return Buffer.from(text, 'base64url').toString('base64url') === text
}

function parseJson(base64url: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64url, 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
}
