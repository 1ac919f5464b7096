import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chat, open } from './support/calls.ts'
import { newRouterHome, workersOf } from './support/router-process.ts'
import { until } from './support/until.ts'

const CALLS = 4

test('a caller whose connection a worker died with before it took it hears that it broke', async (t) => {
  const home = await newRouterHome(t)
  const router = await home.start({ MESH_WORKERS: '2' })
  const [asleep] = workersOf(router)
  assert.ok(asleep)
  process.kill(asleep, 'SIGSTOP')
  // It is handed the first or the second of them, and no other one before it says that it has it.
  const calls = Array.from({ length: CALLS }, () => open(router, router.testKey ?? '', chat()))
  const ended = () => calls.filter((call) => call.isEnded())
  await until('the other worker has answered the others', () => ended().length === CALLS - 1)
  process.kill(asleep, 'SIGKILL')
  await until('the last caller has heard of it', () => ended().length === CALLS)
  assert.equal(calls.filter((call) => call.text() === '').length, 1)
})
