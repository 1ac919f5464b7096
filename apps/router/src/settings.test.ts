import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { readSettings } from './settings.ts'

const catalog = loadCatalog()
const read = (environment: Record<string, string>) => readSettings(environment, tmpdir(), catalog)

test('Azure is live with its key and the name of a resource, or with its key and another host', () => {
  const named = read({ AZURE_API_KEY: 'secret', AZURE_RESOURCE_NAME: 'contoso-east' })
  assert.equal(named.baseUrls.get('azure'), 'https://contoso-east.openai.azure.com/openai/v1')
  assert.equal(named.credentials.get('azure')?.reveal(), 'secret')
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
