import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { MODES } from '@mesh/catalog/target.ts'
import { AUTO_RULES } from '@mesh/engine/auto-rules.ts'
import { type DocRouter, type PageRunner, pythonWithOpenAi, startDocRouter } from './support/doc-runner.ts'
import { jsonOf, outputFault, ROOT, type Snippet, snippetsOf } from './support/doc-snippets.ts'

/**
 * Every example of the README, of `docs/` and of `examples/` runs as it is written, with the router of this test in place of the
 * written one. How pages mark what is special: CONTRIBUTING.md, "Examples in pages".
 */

const PAGES = ['README.md', ...globSync(['docs/*.md', 'examples/*/README.md'], { cwd: ROOT }).sort()]

/** What must be printed beyond what a page itself states, by the mark of the example. */
const CHECKS: Readonly<Record<string, (stdout: string) => void>> = {
  'first call': (stdout) => assert.match(stdout, /^Simulated answer from claude/),
  'whole flow': (stdout) => {
    assert.match(stdout, /"object":"chat\.completion"/)
    assert.match(stdout, /"object":"request_event"/)
    assert.match(stdout, /led_[a-z0-9]+,[^,]+,usage,-0\.\d{9},4\.\d{9},req_/)
    assert.match(stdout, /^valid$/m)
    assert.match(stdout, /"code":"key_revoked"/)
    assert.match(stdout, /in order/)
  },
  'dry run': (stdout) => {
    const told = JSON.parse(stdout)
    assert.equal(told.rule, 'auto.tools')
    const page = readFileSync(join(ROOT, 'docs/routing.md'), 'utf8')
    const documented = (word: string) => assert.ok(page.includes(`\`${word}\``), word)
    for (const { excluded_by } of told.excluded) documented(excluded_by)
    for (const { id } of AUTO_RULES) documented(id)
    for (const { id } of loadCatalog().tiers) documented(id)
    for (const mode of MODES) documented(mode)
  },
  embeddings: (stdout) => assert.match(stdout, /^256 true \d+\n$/),
  rerank: (stdout) => {
    const { results } = JSON.parse(stdout)
    assert.deepEqual([results.length, results[0].index, results[0].document], [1, 1, { text: 'a red fox' }])
  },
}

let docs: DocRouter

before(async () => {
  docs = await startDocRouter()
})
after(() => docs?.stop())

const PYTHON_MISSING =
  'NOT RUN: no Python with the package "openai" is here; .ci/run installs one into .prepare/python'

for (const page of PAGES) {
  const snippets = snippetsOf(page)
  if (snippets.length === 0) continue
  test(`the examples of ${page} run as they are written`, async (t) => {
    const runner = await docs.page(page.startsWith('examples/') ? dirname(page) : undefined)
    try {
      for (const snippet of snippets) await runOne(t, runner, snippet)
    } finally {
      await runner.close()
    }
  })
}

async function runOne(t: TestContext, runner: PageRunner, snippet: Snippet): Promise<void> {
  const { language, line, page, notRun, mark, output } = snippet
  if (notRun !== undefined) {
    t.diagnostic(`line ${line} is not run: ${notRun}`)
    return
  }
  const skip = language === 'python' && pythonWithOpenAi() === undefined ? PYTHON_MISSING : false
  await t.test(`${page}:${line}`, { skip }, async () => {
    const { code, stdout, stderr } = await runner.run(snippet)
    assert.equal(code, 0, `${stdout}${stderr}`)
    if (language !== 'sh') assert.notEqual(stdout.trim(), '', 'an example shows something')
    if (output) assert.equal(outputFault(output, stdout), undefined)
    else if (mark !== undefined) CHECKS[mark]?.(stdout)
    // curl ends well whatever it was answered.
    else assert.doesNotMatch(stdout, /"error":/)
  })
}

test('every mark has its check, and every check its example', () => {
  const marks = PAGES.flatMap(snippetsOf).flatMap(({ mark }) => mark ?? [])
  assert.deepEqual([...marks].sort(), Object.keys(CHECKS).sort())
})

test('what pages show as JSON is JSON', () => {
  for (const page of PAGES) {
    for (const { line, text } of jsonOf(page)) {
      assert.doesNotThrow(() => JSON.parse(text), `${page}:${line}`)
    }
  }
})
