import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'

const COMMAND = join(import.meta.dirname, '../../../scripts/catalog-check.ts')

let folder: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mesh-catalog-'))
})
after(() => rm(folder, { recursive: true, force: true }))

/** What `npm run catalog:check` does: npm tells it where it was typed. */
function check(...words: readonly string[]) {
  const env = { ...process.env, INIT_CWD: folder }
  return spawnSync(process.execPath, [COMMAND, ...words], { encoding: 'utf8', env })
}

async function checkSettings(settings: unknown) {
  await writeFile(join(folder, 'settings.json'), JSON.stringify(settings))
  return check('settings.json')
}

const OWN = {
  id: 'mesh/own',
  contextTokens: 32_000,
  endpoints: [{ provider: 'groq', upstreamModel: 'own', prices: { input: '0.5', output: '1' } }],
}

test('catalog:check has nothing to say of what comes with MESH, and explains itself', () => {
  const { status, stdout } = check()
  assert.equal(stdout, '46 models, 100 endpoints, 14 providers: 0 to mend\n')
  assert.equal(status, 0)
  const help = check('--help')
  assert.equal(help.status, 0)
  assert.match(help.stdout, /^Usage: npm run catalog:check/)
})

test("catalog:check reviews what an operator's settings lay over it", async () => {
  const fine = await checkSettings({ catalog: { models: [OWN] } })
  assert.match(fine.stdout, /^47 models, 101 endpoints, 14 providers: 0 to mend/)
  assert.equal(fine.status, 0)

  const long = await checkSettings({ catalog: { models: [{ ...OWN, outputTokensMax: 64_000 }] } })
  assert.match(long.stdout, /: 2 to mend\n- models\/own\.json: mesh\/own: outputTokensMax of 64000 is more/)
  assert.equal(long.status, 1)
})

test('catalog:check tells a price in another unit, and a file that is none, as the router does', async () => {
  const prices = { input: '0.0000005', output: '0.000001' }
  const perToken = await checkSettings({ catalog: { endpoints: { 'mesh/gpt-4.1@azure': { prices } } } })
  assert.match(
    perToken.stderr,
    /catalog\.endpoints\.mesh\/gpt-4\.1@azure\.prices\.input: must be USD per million/,
  )
  const perThousand = { input: '0.002', output: '0.008' }
  const cheap = await checkSettings({
    catalog: { endpoints: { 'mesh/gpt-4.1@azure': { prices: perThousand } } },
  })
  assert.match(cheap.stderr, /models\/openai\.json: mesh\/gpt-4\.1: azure: .*typed per token or per thousand/)
  const nobody = await checkSettings({ catalog: { endpoints: { 'mesh/none@azure': {} } } })
  assert.match(nobody.stderr, /there is no endpoint mesh\/none@azure/)
  for (const { status } of [perToken, cheap, nobody, check('absent.json')]) assert.equal(status, 1)
})
