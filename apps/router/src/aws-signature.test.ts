import assert from 'node:assert/strict'
import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto'
import { test } from 'node:test'
import { SignatureV4 } from '@smithy/signature-v4'
import fc from 'fast-check'
import { awsSigner } from './aws-signature.ts'
import { Sensitive } from './sensitive.ts'

/** Node's own hashes as AWS's signer wants them. */
class Sha256 {
  readonly #hash: Hash | Hmac
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    if (secret === undefined) this.#hash = createHash('sha256')
    else this.#hash = createHmac('sha256', typeof secret === 'string' ? secret : bytesOf(secret))
  }
  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(typeof data === 'string' ? data : bytesOf(data))
  }
  digest(): Promise<Uint8Array> {
    return Promise.resolve(this.#hash.digest())
  }
  reset(): void {}
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data)
}

const keys = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' }
const nowMs = Date.UTC(2026, 10, 27, 9, 8, 7, 654)

interface Signed {
  readonly host: string
  readonly path: string
  readonly contentType: string
  readonly body: string
  readonly sessionToken?: string
}

function ours({ host, path, contentType, body, sessionToken }: Signed): Record<string, string> {
  const sign = awsSigner(
    {
      accessKeyId: new Sensitive(keys.accessKeyId),
      secretAccessKey: new Sensitive(keys.secretAccessKey),
      ...(sessionToken === undefined ? {} : { sessionToken: new Sensitive(sessionToken) }),
    },
    'eu-west-1',
    () => nowMs,
  )
  const headers = { 'content-type': contentType, accept: 'application/json', 'x-mesh-simulate': 'slow' }
  return sign({ host, path, headers, body })
}

async function theirs({ host, path, contentType, body, sessionToken }: Signed) {
  const signer = new SignatureV4({
    service: 'bedrock',
    region: 'eu-west-1',
    sha256: Sha256,
    applyChecksum: false,
    credentials: { ...keys, ...(sessionToken === undefined ? {} : { sessionToken }) },
  })
  const request = {
    method: 'POST',
    protocol: 'https:',
    hostname: host,
    path,
    headers: { host, 'content-type': contentType },
    body,
  }
  return (await signer.sign(request, { signingDate: new Date(nowMs) })).headers
}

const hosts = fc.constantFrom('bedrock-runtime.eu-west-1.amazonaws.com', '127.0.0.1:8443')
const models = fc.constantFrom(
  'us.anthropic.claude-sonnet-4-5-20250929-v1%3A0',
  'arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fmi1dadi0g15f',
  'deepseek.v3.2',
)
const operations = fc.constantFrom('converse', 'converse-stream')

test("a signature is the one that AWS's own signer makes for the same request", async () => {
  const requests = fc.record(
    {
      host: hosts,
      path: fc
        .tuple(fc.constantFrom('', '/amazon-bedrock'), models, operations)
        .map(([base, model, operation]) => `${base}/model/${model}/${operation}`),
      contentType: fc.constantFrom('application/json', 'application/json;  charset=utf-8'),
      body: fc.string({ unit: 'binary' }),
      sessionToken: fc.string({ unit: fc.constantFrom('A', '/', '+', '=', '0'), minLength: 1 }),
    },
    { requiredKeys: ['host', 'path', 'contentType', 'body'] },
  )
  await fc.assert(
    fc.asyncProperty(requests, async (request) => {
      const expected = await theirs(request)
      const signed = ours(request)
      assert.equal(signed.authorization, expected.authorization)
      assert.equal(signed['x-amz-date'], expected['x-amz-date'])
      assert.equal(signed['x-amz-security-token'], expected['x-amz-security-token'])
    }),
    { numRuns: 200 },
  )
})

test('nothing that was signed can change under the signature', () => {
  const request = { host: 'a.test', path: '/model/m/converse', contentType: 'application/json', body: '{}' }
  const { authorization } = ours(request)
  for (const changed of [
    { ...request, host: 'b.test' },
    { ...request, path: '/model/n/converse' },
    { ...request, contentType: 'text/plain' },
    { ...request, body: '{ }' },
    { ...request, sessionToken: 'x' },
  ]) {
    assert.notEqual(ours(changed).authorization, authorization)
  }
  assert.ok(!JSON.stringify(ours(request)).includes(keys.secretAccessKey))
})
