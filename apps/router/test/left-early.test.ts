import assert from 'node:assert/strict'
import { test } from 'node:test'
import { someoneWaits } from './support/books-fixture.ts'
import { chat, open, send } from './support/calls.ts'
import { startTestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

test('a caller who leaves while his key is looked up takes up no place', async (t) => {
  const mesh = await startTestRouter({ policy: { calls: { concurrencyMax: 1 } } })
  t.after(() => mesh.stop())
  const account = await mesh.account()
  const { pool } = mesh.database
  const lock = await pool.connect()
  await lock.query('begin; lock table api_keys in access exclusive mode')
  const leaving = open(mesh, account.key, chat())
  await until('the key is being looked up', () => someoneWaits(mesh.database))
  leaving.destroy()
  await until('the caller is gone', () => leaving.isEnded())
  await lock.query('commit')
  lock.release()

  await until('there is a place', async () => (await send(mesh, account.key, chat())).status === 200)
  assert.ok(mesh.logged.every(({ level }) => level !== 'error'))
})
