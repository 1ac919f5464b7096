import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { promisify } from 'node:util'
import { outputFault, snippetsOf } from '../../../apps/router/test/support/doc-snippets.ts'
import { startTestRouter, type TestRouter } from '../../../apps/router/test/support/test-router.ts'
import { nodeVersions } from './support/node-versions.ts'
import { type EmptyProject, emptyProject } from './support/packed-sdk.ts'

const PAGE = 'packages/sdk/README.md'
/** First call, stream, fallback, key with a limit, receipt verified offline: all of it, without what people read. */
const NEW_USER_MAX_MS = 120_000

for (const { program, version, openai } of nodeVersions()) {
  suite(`the README of the SDK, as a new user follows it on Node ${version} beside openai ${openai}`, () => {
    let mesh: TestRouter
    let project: EmptyProject

    before(async () => {
      project = await emptyProject(openai)
      mesh = await startTestRouter()
    })
    after(async () => {
      await mesh?.stop()
      await project?.remove()
    })

    test('every example prints what it says, in its order', async () => {
      const { key } = await mesh.account()
      const from = performance.now()
      const env = {
        PATH: `${dirname(program)}:${process.env.PATH}`,
        HOME: project.folder,
        MESH_API_KEY: key,
        MESH_BASE_URL: mesh.baseUrl,
      }
      const run = promisify(execFile)
      for (const { language, line, code, output } of snippetsOf(PAGE)) {
        const file = join(project.folder, `line-${line}.mjs`)
        if (language === 'js') await writeFile(file, code)
        const [command, args] = language === 'js' ? [program, [file]] : ['bash', ['-e', '-c', code]]
        const { stdout, stderr } = await run(command, args, { cwd: project.folder, env })
        assert.ok(output, `line ${line} says what it prints`)
        assert.equal(outputFault(output, stdout), undefined, `line ${line}`)
        if (language === 'js') assert.equal(stderr, '', `line ${line}`)
      }
      assert.ok(performance.now() - from < NEW_USER_MAX_MS)
    })
  })
}
