/**
 * Runs the tests: `npm test`, or `node scripts/test.ts FILE…` for some of them (patterns as well). Unit tests stand
 * beside the source and share one process; behaviour tests under `apps/<app>/test` have a process for each file, and
 * one PostgreSQL for them all. The last line adds up: `N passed, N failed, N skipped`.
 */
import { globSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { StartupError } from '../apps/router/src/storage/startup-error.ts'
import { startTestPostgres } from '../apps/router/test/support/test-postgres.ts'

const ROOT = join(import.meta.dirname, '..')
const UNIT_TESTS = '{apps,packages}/*/src/**/*.test.ts'
const BEHAVIOUR_TESTS = '{apps,packages}/*/test/**/*.test.ts'
/** A file that takes longer hangs, and fails. */
const FILE_TIMEOUT_MS = 300_000
const BEHAVIOUR_CONCURRENCY = 2

interface Tally {
  passed: number
  readonly failures: string[]
  readonly skips: string[]
}

type Isolation = { isolation: 'none' } | { isolation: 'process'; concurrency: number }

async function runTests(files: readonly string[], isolation: Isolation, tally: Tally): Promise<void> {
  if (files.length === 0) return
  const events = run({ files: [...files], timeout: FILE_TIMEOUT_MS, ...isolation })
  events.on('test:fail', ({ name, file, details }) => {
    if (details.type !== 'suite') tally.failures.push(describe(file, name))
  })
  events.on('test:pass', ({ name, file, details, skip, todo }) => {
    if (details.type === 'suite') return
    // Node reports a file in which it found no test under the file's own name, and as passed.
    if (name === file) tally.failures.push(describe(file, 'has no tests'))
    else if (skip === undefined && todo === undefined) tally.passed++
    else
      tally.skips.push(
        `${describe(file, name)}: ${typeof skip === 'string' && skip !== '' ? skip : 'no reason given'}`,
      )
  })
  for await (const text of events.compose(new spec())) process.stdout.write(text)
}

function describe(file: string | undefined, name: string): string {
  return file === undefined || name === file ? relative(ROOT, name) : `${relative(ROOT, file)}: ${name}`
}

function list(heading: string, lines: readonly string[]): void {
  if (lines.length === 0) return
  console.log(`\n${heading}`)
  for (const line of lines) console.log(`  ${line}`)
}

/** Behaviour tests need a PostgreSQL of their own; where none runs, they are skipped by name, never in silence. */
async function runBehaviourTests(files: readonly string[], tally: Tally): Promise<void> {
  if (files.length === 0) return
  const postgres = await startTestPostgres().catch((error: unknown) => {
    if (!(error instanceof StartupError)) throw error
    tally.skips.push(...files.map((file) => `${describe(file, 'all of it')}: ${error.message}`))
  })
  if (postgres === undefined) return
  process.env.MESH_TEST_POSTGRES = JSON.stringify(postgres.server)
  try {
    await runTests(files, { isolation: 'process', concurrency: BEHAVIOUR_CONCURRENCY }, tally)
  } finally {
    await postgres.stop()
  }
}

async function main(patterns: readonly string[]): Promise<boolean> {
  process.chdir(ROOT)
  // Every file of tests, and every router that one starts, would compile all modules anew: see compile-cache.js.
  process.env.NODE_COMPILE_CACHE ??= join(ROOT, 'node_modules/.cache/mesh')
  const chosen = patterns.length > 0 ? patterns : [UNIT_TESTS, BEHAVIOUR_TESTS]
  const files = [...new Set(globSync([...chosen]))].sort().map((file) => join(ROOT, file))
  const isUnit = (file: string) => relative(ROOT, file).split(sep)[2] === 'src'
  const tally: Tally = { passed: 0, failures: [], skips: [] }
  await runTests(files.filter(isUnit), { isolation: 'none' }, tally)
  await runBehaviourTests(
    files.filter((file) => !isUnit(file)),
    tally,
  )
  list('SKIPPED', tally.skips)
  list('FAILED', tally.failures)
  if (tally.passed + tally.failures.length === 0) console.log('\nNo test ran.')
  console.log(`\n${tally.passed} passed, ${tally.failures.length} failed, ${tally.skips.length} skipped`)
  return tally.failures.length === 0 && tally.passed > 0
}

let green = false
let finished = false
// A unit test that ends this process, or no PostgreSQL, must not look like success.
process.once('exit', () => {
  if (!green) process.exitCode = 1
  if (!finished) console.log('\nThe run ended before its tests did.\n\n0 passed, 1 failed, 0 skipped')
})
green = await main(process.argv.slice(2))
finished = true
