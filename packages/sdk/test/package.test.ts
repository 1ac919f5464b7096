import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { suite, test } from 'node:test'
import { promisify } from 'node:util'
import { faultsOf, packSdk } from '../../../scripts/sdk.ts'
import { emptyProject } from './support/packed-sdk.ts'

const run = promisify(execFile)
const ROOT = resolve(import.meta.dirname, '../../..')
/** Whoever goes beyond has a reason, and changes this line. */
const PACKED_BYTES_MAX = 64 * 1024
const CLIENT_BYTES_MAX = 40 * 1024

/** What users write, with the types that they must get. A line under `@ts-expect-error` must not compile. */
const USE = `
import { isMeshError, MeshClient, OpenAI, verifyReceipt, type Receipt, type ReceiptKeys } from '@meshrouter/sdk'

type Same<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false
const isTrue = <Fact extends true>(): Fact | undefined => undefined

const mesh = new MeshClient({ apiKey: 'mesh_test_' })
const plain: OpenAI = mesh
export const stock = plain.chat.completions.create({ model: 'mesh/auto', messages: [] })

const stream = await mesh.chat.completions.create({
  model: 'mesh/claude-sonnet-4.5',
  models: ['mesh/claude-opus-4.6', 'mesh/llama-4-maverick'],
  route: 'fallback',
  messages: [{ role: 'user', content: 'hello' }],
  response_format: { type: 'json_object' },
  privacy: { mode: 'protected' },
  stream: true,
})
for await (const chunk of stream) {
  const total: string | undefined = chunk.usage?.cost_details.total
  console.log(chunk.choices[0]?.delta.content, chunk.routing?.chain, total)
}

const answer = await mesh.chat.completions.create({ models: ['mesh/gpt-5-mini'], messages: [] })
isTrue<Same<typeof answer.id, \`req_\${string}\`>>()
isTrue<Same<typeof answer.usage.cost_details.total, string>>()
const event = await mesh.logs.retrieve(answer.id)
const response = await mesh.responses.create({ model: 'mesh/gpt-5-mini', input: 'hello', models: ['mesh/auto'] })
console.log(response.output_text, response.routing.rule, event.billingReason)
const vectors = await mesh.embeddings.create({ model: 'mesh/embed', input: 'x', provider: { zdr: true } })
console.log(vectors.usage.cost)
for await (const entry of mesh.ledger.list({ limit: 100 })) isTrue<Same<typeof entry.amountUsd, string>>()
for await (const model of mesh.models.list()) console.log(model.pricing?.usd_per_million.input)

try {
  await mesh.keys.create({ name: 'k', limits: { dailyUsdLimit: '1.00' } })
} catch (error) {
  if (isMeshError(error, 'limit_exceeded', 'model_not_found')) {
    isTrue<Same<typeof error.code, 'limit_exceeded' | 'model_not_found'>>()
    if (error.code === 'model_not_found') console.log(error.error.metadata?.nearest)
  }
}
export const claims = (receipt: Receipt, keys: ReceiptKeys) => verifyReceipt(receipt, keys)

// @ts-expect-error a route is one of two words
await mesh.chat.completions.create({ model: 'mesh/auto', messages: [], route: 'sideways' })
// @ts-expect-error there is no such limit
await mesh.keys.create({ name: 'k', limits: { yearlyUsdLimit: '1.00' } })
// @ts-expect-error an id of another kind
await mesh.logs.retrieve('rcpt_1')
`

for (const major of [7, 6] as const) {
  test(`the packed types are what they say beside openai ${major}, for every way of looking them up`, async () => {
    const project = await emptyProject(major)
    try {
      await writeFile(join(project.folder, 'use.ts'), USE)
      await writeFile(join(project.folder, 'package.json'), '{"type": "module"}')
      for (const [module, moduleResolution] of [
        ['nodenext', 'nodenext'],
        ['esnext', 'bundler'],
      ]) {
        const compilerOptions = {
          ...{ module, moduleResolution, target: 'es2022', lib: ['es2022', 'dom', 'dom.iterable'] },
          ...{ strict: true, noEmit: true, types: [], exactOptionalPropertyTypes: true },
          noUncheckedIndexedAccess: true,
          skipLibCheck: true,
        }
        const config = join(project.folder, 'tsconfig.json')
        await writeFile(config, JSON.stringify({ compilerOptions, files: ['use.ts'] }))
        const checked = await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', config]).catch((error) => error)
        assert.equal(checked.stdout, '')
      }
    } finally {
      await project.remove()
    }
  })
}

suite('the package', () => {
  test('holds what it needs and no more, and publint and attw find no fault with it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mesh-sdk-pack-'))
    try {
      const packed = await packSdk(folder)
      assert.deepEqual(await faultsOf(packed.tarball), [])
      assert.ok(packed.packedBytes < PACKED_BYTES_MAX, `${packed.packedBytes} bytes packed`)
      assert.ok(packed.clientBytes < CLIENT_BYTES_MAX, `${packed.clientBytes} bytes of client`)
      const others = packed.files.filter((file) => !/^dist\/.+\.(?:d\.ts|js)$/.test(file))
      assert.deepEqual(others.sort(), ['LICENSE', 'README.md', 'package.json'])
      assert.ok(!packed.files.some((file) => file.includes('.test.')))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  test("the client needs nothing of Node: it imports itself and OpenAI's client alone", async () => {
    const { folder, remove } = await emptyProject(7)
    try {
      const dist = join(folder, 'node_modules/@meshrouter/sdk/dist')
      const files = (await readdir(dist, { recursive: true })).filter(
        (file) => /\.(?:js|d\.ts)$/.test(file) && !file.startsWith('command'),
      )
      assert.ok(files.length > 30)
      for (const file of files) {
        const text = await readFile(join(dist, file), 'utf8')
        for (const [, name = ''] of text.matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)) {
          assert.match(name, /^(?:\.\.?\/|openai(?:\/|$))/, `${file} imports ${name}`)
          assert.ok(!name.includes('/command/'), `${file} imports the command`)
        }
        assert.ok(!/\b(?:Buffer|require|__dirname)\b|<reference types/.test(text), file)
      }
    } finally {
      await remove()
    }
  })
})
