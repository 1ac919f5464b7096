import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

/** Fills its young generation, rests, and prints how large that was and is, in bytes. */
const PROGRAM = `
import { getHeapSpaceStatistics } from 'node:v8'
const { giveBackMemoryWhenIdle } = await import(process.argv[1])
const young = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size
let kept = []
for (let count = 0; count < 300_000; count++) kept.push({ count })
const grown = young()
kept = undefined
giveBackMemoryWhenIdle()
const deadline = Date.now() + 20_000
const look = setInterval(() => {
  if (young() > grown / 2 && Date.now() < deadline) return
  clearInterval(look)
  console.log(JSON.stringify({ grown, left: young(), gc: typeof globalThis.gc }))
}, 100)
`

test('what a start made of the young generation is given back once nothing is to be done', async () => {
  const module = join(import.meta.dirname, 'give-back-memory.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--input-type=module',
    '--eval',
    PROGRAM,
    module,
  ])
  const { grown, left, gc } = JSON.parse(stdout)
  assert.ok(left <= grown / 2, `${left} of ${grown} bytes are left`)
  assert.equal(gc, 'undefined')
})
