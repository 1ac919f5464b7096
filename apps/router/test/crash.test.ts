import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { CanarySearch, newCanary } from './support/canary-search.ts'
import { newRouterHome } from './support/router-process.ts'
import { createTestDatabase } from './support/test-database.ts'

const PROBE = pathToFileURL(join(import.meta.dirname, 'support/crash-probe.ts')).href
/** So little that it runs out within moments, and enough to serve. */
const HEAP_MEGABYTES = 96

for (const [way, said] of [
  ['an exception', 'an error that nobody caught ends this process'],
  ['a rejection', 'an error that nobody caught ends this process'],
  ['memory that runs out', 'JavaScript heap out of memory'],
] as const) {
  test(`a router that ends by ${way} says so, and nothing of what it had in its hands`, async (t) => {
    const database = await createTestDatabase()
    t.after(() => database.close())
    const home = await newRouterHome(t, database)
    const text = newCanary()
    const router = await home.start({
      NODE_OPTIONS: `--max-old-space-size=${HEAP_MEGABYTES} --import=${PROBE}`,
      CRASH_PROBE_WAY: way,
      CRASH_PROBE_TEXT: text,
    })
    const search = new CanarySearch(new Map([['what it had in its hands', text]]))
    const { code, signal, stderr, stdout } = await router.kill('SIGUSR2')
    assert.ok(code === 1 || signal === 'SIGABRT', `${code} ${signal}`)
    assert.ok(stderr.includes(said), stderr)
    assert.deepEqual(search.in(stderr + stdout), [])
    // A report or a dump would lie in the working directory.
    for (const entry of readdirSync(home.scratch, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (entry.isFile()) assert.deepEqual(search.in(readFileSync(path)), [], path)
    }
  })
}
