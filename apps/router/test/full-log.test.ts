import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { chat, send } from './support/calls.ts'
import { guardFolder } from './support/guard.ts'
import { createTestDatabase } from './support/test-database.ts'
import { ADMIN_KEY, connectionUrl, requester } from './support/test-router.ts'

const MAIN = join(import.meta.dirname, '../src/main.ts')
/** Whatever is written to it finds no space: https://www.man7.org/linux/man-pages/man4/full.4.html */
const FULL = '/dev/full'
const SKIP = existsSync(FULL) ? false : 'there is no /dev/full on this system'

test('a router whose log finds no space on its disk serves on', { skip: SKIP }, async (t) => {
  const own = await createTestDatabase()
  const home = await mkdtemp(join(tmpdir(), 'mesh-full-'))
  const wards = guardFolder(home)
  const log = openSync(FULL, 'w')
  const child = spawn(process.execPath, [MAIN, '--quiet'], {
    cwd: home,
    stdio: ['ignore', 'pipe', log],
    env: {
      PATH: process.env.PATH,
      PORT: '0',
      MESH_HOME: join(home, 'home'),
      MESH_ADMIN_KEY: ADMIN_KEY,
      MESH_SIGNING_KEY_FILE: await signingKeyIn(home),
      DATABASE_URL: connectionUrl(own.connection),
      MESH_LOG_LEVEL: 'debug',
      // Warned of in words, which find no space either.
      MESH_UNHEARD_OF: '1',
    },
  })
  if (child.pid !== undefined) wards.watch([{ pid: child.pid, signal: 'KILL' }])
  closeSync(log)
  t.after(async () => {
    await wards.end()
    await own.close()
    await rm(home, { recursive: true, force: true })
  })
  const ended = once(child, 'exit').then(([code, signal]) => `it ended with ${code ?? signal}`)
  const { stdout } = child
  assert.ok(stdout)
  const line = await Promise.race([once(stdout, 'data').then(([bytes]) => String(bytes)), ended])
  const request = requester(JSON.parse(line).url)
  const made = await request('POST', '/v1/accounts', { key: ADMIN_KEY, body: { name: 'Tester' } })
  const accountId = made.json.id
  const grant = { amountUsd: '1.00', reason: 'test', livemode: false }
  await request('POST', `/v1/accounts/${accountId}/grants`, { key: ADMIN_KEY, body: grant })
  const body = { name: 'Key', accountId, livemode: false }
  const { json: key } = await request('POST', '/v1/api-keys', { key: ADMIN_KEY, body })
  for (let call = 0; call < 3; call++) {
    const { status, text } = await send({ request }, key.secret, chat('tokens=5'))
    assert.equal(status, 200, text)
  }
  child.kill('SIGTERM')
  assert.equal(await ended, 'it ended with 0')
})

async function signingKeyIn(folder: string): Promise<string> {
  const file = join(folder, 'signing-key.pem')
  const { privateKey } = generateKeyPairSync('ed25519')
  await writeFile(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  return file
}
