import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { modelInRegion } from './aws-settings.ts'
import { readSettings } from './settings.ts'

const read = (environment: Record<string, string>) => readSettings(environment, tmpdir())

test('Azure is live with its key and the name of a resource, or with its key and another host', () => {
  const named = read({ AZURE_API_KEY: 'secret', AZURE_RESOURCE_NAME: 'contoso-east' })
  assert.equal(named.baseUrls.get('azure'), 'https://contoso-east.openai.azure.com/openai/v1')
  assert.equal(named.credentials.get('azure')?.[0]?.secret.reveal(), 'secret')
  assert.deepEqual(named.warnings, [])

  const hosted = read({ AZURE_API_KEY: 'secret', MESH_AZURE_BASE_URL: 'http://localhost:9/openai/v1/' })
  assert.equal(hosted.baseUrls.get('azure'), 'http://localhost:9/openai/v1')
  assert.ok(hosted.credentials.has('azure'))
  assert.deepEqual(hosted.warnings, [])

  const both = read({
    AZURE_API_KEY: 'secret',
    AZURE_RESOURCE_NAME: 'contoso',
    MESH_AZURE_BASE_URL: 'http://localhost:9/openai/v1',
  })
  assert.equal(both.baseUrls.get('azure'), 'http://localhost:9/openai/v1')
})

test('half of what Azure needs leaves it to test keys, and says what is missing', () => {
  const keyAlone = read({ AZURE_API_KEY: 'secret' })
  assert.equal(keyAlone.credentials.has('azure'), false)
  assert.match(
    keyAlone.warnings.join(),
    /^AZURE_API_KEY is set without AZURE_RESOURCE_NAME \(or MESH_AZURE_BASE_URL\)/,
  )
  const nameAlone = read({ AZURE_RESOURCE_NAME: 'contoso' })
  assert.equal(nameAlone.credentials.has('azure'), false)
  assert.match(nameAlone.warnings.join(), /^AZURE_RESOURCE_NAME is set without AZURE_API_KEY/)
  assert.deepEqual(read({}).warnings, [])
})

test("what is no resource's name stops the start", () => {
  for (const name of ['https://contoso.openai.azure.com', 'a.b', 'evil.test/', '-a', 'a b', '@x']) {
    assert.throws(
      () => read({ AZURE_API_KEY: 'secret', AZURE_RESOURCE_NAME: name }),
      /AZURE_RESOURCE_NAME must be a name alone/,
    )
  }
})

test("Bedrock is live with a bearer token or an access key, in a region or under the region's default name", () => {
  const region = 'eu-west-1'
  const host = 'https://bedrock-runtime.eu-west-1.amazonaws.com'
  const token = read({ AWS_BEARER_TOKEN_BEDROCK: 'token', AWS_REGION: region })
  assert.equal(token.credentials.get('amazon-bedrock')?.[0]?.secret.reveal(), 'token')
  assert.equal(token.baseUrls.get('amazon-bedrock'), host)
  assert.deepEqual([token.aws, token.warnings], [{ region }, []])

  const pair = { AWS_ACCESS_KEY_ID: 'AKIA', AWS_SECRET_ACCESS_KEY: 'half' }
  const keys = read({ ...pair, AWS_SESSION_TOKEN: 'session', AWS_DEFAULT_REGION: region })
  assert.equal(keys.credentials.has('amazon-bedrock'), false)
  assert.equal(keys.baseUrls.get('amazon-bedrock'), host)
  const { accessKeyId, secretAccessKey, sessionToken } = keys.aws.keys ?? {}
  assert.deepEqual(
    [accessKeyId, secretAccessKey, sessionToken].map((key) => key?.reveal()),
    ['AKIA', 'half', 'session'],
  )
  assert.ok(!JSON.stringify(keys.aws).includes('half'))
  assert.deepEqual(keys.warnings, [])

  const both = read({ ...pair, AWS_BEARER_TOKEN_BEDROCK: 'token', AWS_REGION: region })
  assert.deepEqual([both.credentials.has('amazon-bedrock'), both.aws.keys], [true, undefined])
})

test('a secret of AWS may lie in a file', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-aws-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'secret')
  writeFileSync(file, 'from a file\n'.replaceAll(' ', '-'))
  const { aws } = read({
    AWS_ACCESS_KEY_ID: 'AKIA',
    AWS_SECRET_ACCESS_KEY_FILE: file,
    AWS_REGION: 'us-east-1',
  })
  assert.equal(aws.keys?.secretAccessKey.reveal(), 'from-a-file')
})

test('half of what Bedrock needs leaves it to test keys, and says what is missing', () => {
  const halves: readonly (readonly [Record<string, string>, RegExp])[] = [
    [{ AWS_BEARER_TOKEN_BEDROCK: 'token' }, /^AWS_BEARER_TOKEN_BEDROCK is set without AWS_REGION/],
    [{ AWS_ACCESS_KEY_ID: 'AKIA', AWS_REGION: 'us-east-1' }, /^AWS_ACCESS_KEY_ID is set without AWS_SECRET/],
    [{ AWS_SECRET_ACCESS_KEY: 'half' }, /^AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID/],
    [{ AWS_SESSION_TOKEN: 'session' }, /^AWS_SESSION_TOKEN is set without AWS_ACCESS_KEY_ID/],
    [
      { AWS_ACCESS_KEY_ID: 'AKIA', AWS_SECRET_ACCESS_KEY: 'half' },
      /^AWS_ACCESS_KEY_ID is set without AWS_REGION/,
    ],
  ]
  for (const [environment, warning] of halves) {
    const { credentials, aws, warnings } = read(environment)
    assert.deepEqual([credentials.has('amazon-bedrock'), aws.keys], [false, undefined])
    assert.equal(warnings.length, 1)
    assert.match(warnings.join(), warning)
  }
  assert.deepEqual(read({ AWS_REGION: 'us-east-1' }).warnings, [])
  assert.throws(() => read({ AWS_ACCESS_KEY_ID: 'A K' }), /AWS_ACCESS_KEY_ID holds characters/)
  assert.throws(() => read({ AWS_REGION: 'https://aws.test' }), /AWS_REGION must be a name alone/)
})

test("a cross-region profile is called by the caller's own geography", () => {
  const llama = 'us.meta.llama4-scout-17b-instruct-v1:0'
  assert.equal(modelInRegion(llama, 'us-west-2'), llama)
  assert.equal(modelInRegion(llama, 'eu-central-1'), llama.replace('us.', 'eu.'))
  assert.equal(modelInRegion(llama, 'ap-south-1'), llama.replace('us.', 'apac.'))
  assert.equal(modelInRegion(llama, 'us-gov-west-1'), llama.replace('us.', 'us-gov.'))
  assert.equal(modelInRegion(llama, 'sa-east-1'), llama)
  assert.equal(
    modelInRegion('global.anthropic.claude-sonnet-5', 'eu-west-1'),
    'global.anthropic.claude-sonnet-5',
  )
  assert.equal(modelInRegion('deepseek.v3.2', 'eu-west-1'), 'deepseek.v3.2')
})
