import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { bookOf, nano } from '../../../apps/router/test/support/calls.ts'
import { startTestRouter, type TestRouter } from '../../../apps/router/test/support/test-router.ts'
import { until } from '../../../apps/router/test/support/until.ts'
import { nodeVersions } from './support/node-versions.ts'
import { type EmptyProject, emptyProject } from './support/packed-sdk.ts'
import { start } from './support/run-command.ts'

/**
 * A program that leaves calls in every way there is, says what is still open, and ends: nothing but its own end stops
 * it. The simulator holds each answer back, so that it is left in the middle.
 */
const PROGRAM = `
import { isMeshError, MeshClient } from '@meshrouter/sdk'

const mesh = new MeshClient()
const call = (simulate, more = {}) => ({
  model: 'mesh/gpt-4o-mini',
  max_tokens: 100,
  messages: [{ role: 'user', content: 'Count to ten.' }],
  metadata: { mesh_simulate: simulate },
  ...more,
})
const nameOf = (error) => (isMeshError(error) ? error.code : error.constructor.name)

for await (const chunk of await mesh.chat.completions.create(call('tokens=40,hold=5', { stream: true }))) {
  if (chunk.choices[0]?.delta.content) break
}
const abort = new AbortController()
const stream = await mesh.chat.completions.create(call('tokens=40,hold=5', { stream: true }), { signal: abort.signal })
setTimeout(() => abort.abort(), 200)
for await (const _chunk of stream);
const early = new AbortController()
setTimeout(() => early.abort(), 200)
await mesh.chat.completions.create(call('hold'), { signal: early.signal }).catch((error) => console.log(nameOf(error)))
await mesh.chat.completions.create(call('hold'), { timeout: 400, maxRetries: 0 }).catch((error) => console.log(nameOf(error)))
await mesh.chat.completions.create(call('hold'), { timeout: 400, maxRetries: 1 }).catch((error) => console.log(nameOf(error)))
for await (const _event of mesh.logs.list({ limit: 1 })) break
console.log('done')
process.on('exit', () => console.log('open:', process.getActiveResourcesInfo().filter((name) => /Timeout|Immediate/.test(name)).length))
`
const CALLS = 5

for (const { program, version, openai } of nodeVersions()) {
  suite(`what calls leave behind on Node ${version}`, () => {
    let mesh: TestRouter
    let project: EmptyProject

    before(async () => {
      project = await emptyProject(openai)
      mesh = await startTestRouter()
      await writeFile(join(project.folder, 'program.mjs'), PROGRAM)
    })
    after(async () => {
      await mesh?.stop()
      await project?.remove()
    })

    test('a program that left calls in every way ends by itself, and each was charged at most once', async () => {
      const { key, id } = await mesh.account({ creditUsd: '1.00' })
      const environment = { MESH_API_KEY: key, MESH_BASE_URL: mesh.baseUrl }
      const { code, stdout, stderr } = await start(program, ['program.mjs'], {
        cwd: project.folder,
        environment,
      }).ended
      assert.deepEqual([code, stderr], [0, ''])
      assert.deepEqual(stdout.trim().split('\n'), [
        'APIUserAbortError',
        'APIConnectionTimeoutError',
        'idempotency_in_progress',
        'done',
        'open: 0',
      ])
      mesh.simulator.release()
      await until('nothing is held any more', async () => (await bookOf(mesh.database, id)).heldNano === 0n)
      const { json } = await mesh.request('GET', '/v1/ledger?limit=100', { key })
      const rows: { type: string; requestId: string; amountUsd: string }[] = json.data
      const charged = rows.filter(({ type }) => type === 'usage')
      assert.ok(charged.length <= CALLS)
      assert.equal(new Set(charged.map(({ requestId }) => requestId)).size, charged.length)
      assert.equal(mesh.simulator.stats().requests, CALLS)
      const left = charged.reduce((rest, { amountUsd }) => rest + nano(amountUsd), nano('1.00'))
      assert.equal((await bookOf(mesh.database, id)).balanceNano, left)
    })
  })
}
