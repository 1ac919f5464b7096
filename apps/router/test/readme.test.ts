import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { MODES } from '@mesh/catalog/target.ts'
import { AUTO_RULES } from '@mesh/engine/auto-rules.ts'
import { ADMIN_KEY, startTestRouter, type TestRouter } from './support/test-router.ts'

const run = promisify(execFile)
const ROOT = resolve(import.meta.dirname, '../../..')
const WRITTEN_URL = 'http://localhost:8787'

let router: TestRouter
let folder: string

before(async () => {
  router = await startTestRouter()
  folder = await mkdtemp(join(tmpdir(), 'mesh-readme-'))
  await mkdir(join(folder, 'node_modules'))
  await symlink(join(ROOT, 'node_modules/openai'), join(folder, 'node_modules/openai'))
})
after(async () => {
  await router.stop()
  await rm(folder, { recursive: true, force: true })
})

/** A snippet of the README by the mark above it, with this test's router in place of the written one. */
async function snippet(mark: string, page = 'README.md'): Promise<string> {
  const readme = await readFile(join(ROOT, page), 'utf8')
  const found = new RegExp(`<!-- test: ${mark} -->\\n\`\`\`\\w+\\n([\\s\\S]*?)\`\`\``).exec(readme)
  assert.ok(found?.[1], `${page} has a snippet marked "${mark}"`)
  assert.ok(found[1].includes(WRITTEN_URL), 'it names the default URL')
  return found[1].replaceAll(WRITTEN_URL, router.url)
}

test('the OpenAI SDK snippet runs as it is written, with base URL and key changed', async () => {
  const { key } = await router.account()
  const file = join(folder, 'first-call.mjs')
  await writeFile(file, await snippet('first call'))
  const { stdout } = await run(process.execPath, [file], { env: { ...process.env, MESH_API_KEY: key } })
  assert.match(stdout, /^Simulated answer from claude/)
})

test('the whole flow runs as it is written, to the receipt that verifies and the key that is refused', async () => {
  const script = (await snippet('whole flow'))
    // The database of this test is not the one of a default start; that command has a test of its own.
    .replace(/\n# the books add up\n.*\n/, '\n')
    .replaceAll('npm run --silent ops --', `"${process.execPath}" "${ROOT}/apps/router/src/ops.ts"`)
  const { stdout } = await run('bash', ['-e', '-c', script], {
    cwd: folder,
    env: { ...process.env, MESH_ADMIN_KEY: ADMIN_KEY, INIT_CWD: folder },
  })
  assert.match(stdout, /"object":"chat\.completion"/)
  assert.match(stdout, /"object":"request_event"/)
  assert.match(stdout, /led_[a-z0-9]+,[^,]+,usage,-0\.\d{9},4\.\d{9},req_/)
  assert.match(stdout, /^valid$/m)
  assert.match(stdout, /"code":"key_revoked"/)
})

test('the dry run of docs/routing.md runs as it is written, and the page has every word of a plan', async () => {
  const { key } = await router.account()
  const script = await snippet('dry run', 'docs/routing.md')
  const { stdout } = await run('bash', ['-e', '-c', script], { env: { ...process.env, MESH_API_KEY: key } })
  const told = JSON.parse(stdout)
  assert.equal(told.rule, 'auto.tools')
  const page = await readFile(join(ROOT, 'docs/routing.md'), 'utf8')
  const documented = (word: string) => assert.ok(page.includes(`\`${word}\``), word)
  for (const { excluded_by } of told.excluded) documented(excluded_by)
  for (const { id } of AUTO_RULES) documented(id)
  for (const { id } of loadCatalog().tiers) documented(id)
  for (const mode of MODES) documented(mode)
})

test('the calls of docs/embeddings.md run as they are written', async () => {
  const { key } = await router.account()
  const env = { ...process.env, MESH_API_KEY: key }
  const page = 'docs/embeddings.md'
  const file = join(folder, 'embeddings.mjs')
  await writeFile(file, await snippet('embeddings', page))
  const { stdout } = await run(process.execPath, [file], { env })
  assert.match(stdout, /^256 true \d+\n$/)
  const ask = async (mark: string) =>
    JSON.parse((await run('bash', ['-e', '-c', await snippet(mark, page)], { env })).stdout)
  const { results } = await ask('rerank')
  assert.deepEqual([results.length, results[0].index, results[0].document], [1, 1, { text: 'a red fox' }])
  const counted = await ask('token count')
  assert.deepEqual([counted.input_tokens, counted.exact, counted.method], [4, true, 'o200k_base'])
})
