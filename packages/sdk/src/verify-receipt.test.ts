import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import {
  type Receipt,
  type ReceiptClaims,
  ReceiptError,
  type ReceiptKey,
  type ReceiptKeys,
  verifyReceipt,
} from './verify-receipt.ts'

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

const CLAIMS: ReceiptClaims = {
  version: 1,
  issuer: 'https://api.meshrouter.app',
  receiptId: 'rcpt_01m8ffqr37p8e53ta4w2kzr4kn',
  requestId: 'req_01m8ffqr37p8e53ta4w2kzr4kn',
  issuedAt: '2026-11-27T21:49:13.256Z',
  accountId: 'acct_01m8ffq4z13x0bd611w33trwes',
  projectId: 'proj_01m8ffq4zep237d1dyx61f4fsn',
  keyId: 'key_01m8ffq50s9s17ssrz0464xrnp',
  livemode: true,
  modelRequested: 'mesh/gpt-5-mini',
  modelServed: 'mesh/gpt-5-mini',
  provider: 'openai',
  route: [{ model: 'mesh/gpt-5-mini', provider: 'openai', outcome: 'served' }],
  tokens: {
    input: 6,
    cacheRead: 0,
    cacheWrite5m: 0,
    cacheWrite1h: 0,
    inputAudio: 0,
    inputImage: 0,
    output: 40,
    reasoning: 5,
    outputAudio: 0,
    outputImage: 0,
  },
  usageSource: 'reported',
  priceListId: 'prices_d9ec8c2a6cf9f7992ad3ef87331cf946',
  pricesUsdPerMillion: { input: '0.2625', output: '2.1' },
  upstreamCostUsd: '0.000011500',
  marginUsd: '0.000000575',
  totalUsd: '0.000012075',
  currency: 'USD',
  billingReason: 'completed',
  finishReason: 'stop',
  firstTokenMs: 28,
  durationMs: 49,
  privacy: { requested: 'standard', class: 'standard', sealed: 'none', providerPlaintext: true },
  attestationHash: null,
  ledgerEntryId: 'led_01m8ffqr37p8e53ta4w2kzr4kn',
}

interface Signer {
  readonly privateKey: KeyObject
  readonly jwk: ReceiptKey
}

function newSigner(): Signer {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const { x = '' } = publicKey.export({ format: 'jwk' })
  const kid = createHash('sha256').update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest('base64url')
  return { privateKey, jwk: { kty: 'OKP', crv: 'Ed25519', x, kid, alg: 'Ed25519', use: 'sig' } }
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

function jwsOf(claims: unknown, { privateKey, jwk }: Signer, header: object = {}): string {
  const head = { alg: 'Ed25519', kid: jwk.kid, typ: 'mesh-receipt+jws', ...header }
  const input = `${encode(head)}.${encode(claims)}`
  return `${input}.${sign(null, Buffer.from(input), privateKey).toString('base64url')}`
}

const signer = newSigner()
const keys: ReceiptKeys = { keys: [newSigner().jwk, signer.jwk] }
const receipt: Receipt = {
  id: CLAIMS.receiptId,
  object: 'receipt',
  livemode: CLAIMS.livemode,
  receipt: CLAIMS,
  jws: jwsOf(CLAIMS, signer),
}

/** Every place in a JSON value, as the names on the way to it. */
function placesIn(value: Json, path: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([name, inner]) => placesIn(inner, [...path, name]))]
}

function replaceAt(value: Json, [name, ...rest]: readonly string[], to: Json): Json {
  if (name === undefined) return to
  if (Array.isArray(value)) {
    return value.map((item, at) => (String(at) === name ? replaceAt(item, rest, to) : item))
  }
  const object = value as { readonly [name: string]: Json }
  return { ...object, [name]: replaceAt(object[name] ?? null, rest, to) }
}

const refused = (given: unknown, keySet: unknown = keys) =>
  assert.rejects(verifyReceipt(given as Receipt, keySet as ReceiptKeys), ReceiptError)

suite('a receipt', () => {
  test('is verified with its keys alone, whole or as its JWS', async () => {
    assert.deepEqual(await verifyReceipt(receipt, keys), CLAIMS)
    assert.deepEqual(await verifyReceipt(receipt.jws, keys), CLAIMS)
    const reordered = Object.fromEntries(Object.entries(CLAIMS).reverse()) as unknown as ReceiptClaims
    assert.deepEqual(await verifyReceipt({ ...receipt, receipt: reordered }, keys), CLAIMS)
  })

  test('is refused when any of its fields shows something else than was signed', async () => {
    const shown = receipt as unknown as Json
    const places = placesIn(shown)
    assert.ok(places.length > 50)
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...places), fc.jsonValue(), async (place, to) => {
        const changed = replaceAt(shown, place, to as Json)
        fc.pre(JSON.stringify(changed) !== JSON.stringify(shown))
        await refused(changed)
      }),
      { numRuns: 600 },
    )
  })

  test('is refused with a field too many or too few', async () => {
    for (const place of placesIn(receipt as unknown as Json)) {
      const name = place.at(-1)
      if (name === undefined) continue
      const without = structuredClone(receipt)
      const parent = place
        .slice(0, -1)
        .reduce<unknown>((at, step) => Reflect.get(at as object, step), without) as Record<string, unknown>
      if (Array.isArray(parent)) parent.pop()
      else delete parent[name]
      await refused(without)
    }
    await refused({ ...receipt, note: 'paid' })
    await refused({ ...receipt, receipt: { ...CLAIMS, note: 'paid' } })
  })

  test('is refused when any character of its JWS is another, is missing or is added', async () => {
    const { jws } = receipt
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n'
    // The last character holds spare bits, which a lenient decoder would let pass: it is among those tried.
    for (const character of alphabet) {
      const last = jws.slice(0, -1) + character
      if (last !== jws) await refused(last)
    }
    const place = fc.nat(jws.length - 1)
    const character = fc.constantFrom(...alphabet)
    await fc.assert(
      fc.asyncProperty(place, character, fc.constantFrom(0, 1), async (at, written, removed) => {
        const changed = jws.slice(0, at) + written + jws.slice(at + removed)
        fc.pre(changed !== jws)
        await refused(changed)
        await refused({ ...receipt, jws: changed })
      }),
      { numRuns: 600 },
    )
    await fc.assert(
      fc.asyncProperty(fc.nat(jws.length - 1), (length) => refused(jws.slice(0, length))),
      { numRuns: 200 },
    )
  })

  test('is refused when any character of the key that it names is another', async () => {
    const members = Object.keys(signer.jwk) as (keyof ReceiptKey)[]
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...members),
        fc.nat(),
        fc.string({ minLength: 1, maxLength: 1 }),
        (name, at, to) => {
          const text = signer.jwk[name] ?? ''
          const place = at % text.length
          const changed = text.slice(0, place) + to + text.slice(place + 1)
          fc.pre(changed !== text)
          return refused(receipt, { keys: [{ ...signer.jwk, [name]: changed }] })
        },
      ),
      { numRuns: 400 },
    )
  })

  test('is refused when it was signed by somebody else, also under the name of the true key', async () => {
    const other = newSigner()
    await refused(jwsOf(CLAIMS, other))
    await refused(jwsOf(CLAIMS, { privateKey: other.privateKey, jwk: signer.jwk }))
    const posed = { ...other.jwk, kid: signer.jwk.kid }
    await refused(jwsOf(CLAIMS, { privateKey: other.privateKey, jwk: posed }), { keys: [posed] })
    const [, , signature = ''] = receipt.jws.split('.')
    await refused(jwsOf({ ...CLAIMS, totalUsd: '0.000000001' }, signer).replace(/[^.]+$/, signature))
  })

  test('is refused under another algorithm, another kind of token, or a header that says more', async () => {
    for (const header of [
      { alg: 'none' },
      { alg: 'EdDSA' },
      { alg: 'HS256' },
      { typ: 'JWT' },
      { typ: 'mesh-payment+jws' },
      { crit: ['exp'], exp: 0 },
      { jwk: signer.jwk },
    ]) {
      await refused(jwsOf(CLAIMS, signer, header))
    }
    await refused(jwsOf({ ...CLAIMS, version: 2 }, signer))
    await refused(jwsOf([CLAIMS], signer))
  })

  test('is refused, and nothing worse, whatever is given for receipt or keys', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), (given) => refused(given)),
      { numRuns: 200 },
    )
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), (given) => refused(receipt, given)),
      { numRuns: 200 },
    )
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), (given) => refused(receipt, { keys: [given] })),
      { numRuns: 200 },
    )
    await refused(undefined)
    await refused(null)
    await refused(receipt, null)
  })
})
