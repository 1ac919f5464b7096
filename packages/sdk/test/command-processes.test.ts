import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { promisify } from 'node:util'
import { bookOf, nano } from '../../../apps/router/test/support/calls.ts'
import {
  startTestRouter,
  type TestAccount,
  type TestRouter,
} from '../../../apps/router/test/support/test-router.ts'
import { until } from '../../../apps/router/test/support/until.ts'
import { nodeVersions } from './support/node-versions.ts'
import { type EmptyProject, emptyProject } from './support/packed-sdk.ts'
import { type CommandOptions, start } from './support/run-command.ts'

const MODEL = 'mesh/gpt-4o-mini'

for (const { program, version, openai } of nodeVersions()) {
  suite(`meshrouter, packed, on Node ${version}`, () => {
    let mesh: TestRouter
    let project: EmptyProject
    let account: TestAccount

    before(async () => {
      project = await emptyProject(openai)
      mesh = await startTestRouter()
      account = await mesh.account()
    })
    after(async () => {
      await mesh?.stop()
      await project?.remove()
    })

    const begin = (words: readonly string[], options: Partial<CommandOptions> = {}) =>
      start(program, [project.command, ...words], {
        cwd: project.folder,
        environment: { MESH_API_KEY: account.key, MESH_BASE_URL: mesh.baseUrl },
        ...options,
      })
    const run = (...words: string[]) => begin(words).ended
    const runWith = (environment: Record<string, string>, ...words: string[]) =>
      begin(words, { environment: { MESH_BASE_URL: mesh.baseUrl, ...environment } }).ended

    test('an answer comes to standard output, and what it cost to standard error', async () => {
      const { code, stdout, stderr } = await run('chat', '-m', 'mesh/claude-sonnet-4.5', 'hello', 'there')
      assert.deepEqual([code, stdout.startsWith('Simulated answer'), stdout.endsWith('\n')], [0, true, true])
      assert.match(
        stderr,
        /^mesh\/claude-sonnet-4\.5 · anthropic · 7 tokens in, \d+ out · \$0\.\d{9} · rcpt_/,
      )
      assert.equal((await run('chat', '-q', '-m', MODEL, 'hello')).stderr, '')
      const whole = await run('chat', '--json', '-m', MODEL, '--max-tokens', '9', 'hello')
      assert.ok(JSON.parse(whole.stdout).usage.completion_tokens <= 9)
    })

    test('a prompt comes from standard input where there is none, or a dash', async () => {
      const long = 'word '.repeat(20_000)
      for (const words of [['chat'], ['chat', 'Sum', 'up', '-']]) {
        const { code, stderr } = await begin([...words, '-m', MODEL], { input: long }).ended
        assert.equal(code, 0, stderr)
        const tokens = Number(/(\d+) tokens in/.exec(stderr)?.[1])
        assert.ok(tokens > 15_000, stderr)
      }
      assert.equal((await begin(['chat'], { input: ' \n' }).ended).code, 2)
      // An input that nobody closes is not waited for where it is not wanted.
      const running = begin(['chat', '-m', MODEL, 'hello'], { input: null })
      assert.equal((await running.ended).code, 0)
    })

    test('a receipt that was kept verifies offline and without a key', async () => {
      const { stdout } = await run('chat', '--json', '-m', MODEL, 'hello')
      const [receipt, keys] = [join(project.folder, 'receipt.json'), join(project.folder, 'keys.json')]
      await writeFile(receipt, (await run('receipt', 'show', JSON.parse(stdout).id)).stdout)
      await writeFile(keys, (await run('receipt', 'keys')).stdout)
      const offline = { MESH_BASE_URL: 'http://127.0.0.1:9/v1' }
      const verified = await runWith(offline, 'receipt', 'verify', receipt, '--keys', keys)
      assert.deepEqual([verified.code, verified.stdout.split('\n')[0], verified.stderr], [0, 'valid', ''])
      const changed = (await readFile(receipt, 'utf8')).replace(/"totalUsd":"0\.0/, '"totalUsd":"9.0')
      await writeFile(receipt, changed)
      const refused = await runWith(offline, 'receipt', 'verify', receipt, '--keys', keys)
      assert.deepEqual([refused.code, refused.stdout], [4, ''])
    })

    test('a key is kept in a file of its own, and used from there', async () => {
      const file = join(project.folder, 'batch.key')
      assert.equal(
        (await run('keys', 'create', 'batch', '--limit', 'dailyUsdLimit=1', '--save', file)).code,
        0,
      )
      assert.equal((await stat(file)).mode & 0o777, 0o600)
      const used = await runWith({ MESH_API_KEY_FILE: file, MESH_BASE_URL: mesh.baseUrl }, 'keys', 'show')
      assert.equal(JSON.parse(used.stdout).limits.dailyUsdLimit, '1.000000000')
    })

    test('logs -f shows each call once, as it ends, until Ctrl-C', async () => {
      const follower = await mesh.account()
      const environment = { MESH_API_KEY: follower.key, MESH_BASE_URL: mesh.baseUrl }
      const ask = async () =>
        JSON.parse((await begin(['chat', '--json', '-m', MODEL, 'hello'], { environment }).ended).stdout).id
      const body = { model: MODEL, messages: [{ role: 'user', content: 'hello' }] }
      const ids: string[] = []
      for (let calls = 0; calls < 22; calls++) {
        const { json } = await mesh.request('POST', '/v1/chat/completions', { key: follower.key, body })
        ids.push(json.id)
      }
      await until('the last is recorded', async () => {
        const { json } = await mesh.request('GET', '/v1/logs?limit=1', { key: follower.key })
        return json.data[0]?.id === ids.at(-1)
      })
      const following = begin(['logs', '-f', '--json'], { environment })
      await until('the call before is shown', () => following.stdout().includes(ids.at(-1) ?? ''))
      for (let calls = 0; calls < 3; calls++) ids.push(await ask())
      await until('the calls after are shown', () =>
        ids.slice(-3).every((id) => following.stdout().includes(id)),
      )
      following.child.kill('SIGINT')
      const { code, stdout } = await following.ended
      assert.equal(code, 130)
      const shown = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).id)
      // The latest 20 before it began, and those that came: what is older is never taken for new.
      assert.deepEqual(shown, ids.slice(-23))
    })

    test('Ctrl-C ends a call in the middle of its answer, which is charged once at most', async () => {
      const payer = await mesh.account({ creditUsd: '1.00' })
      const environment = { MESH_API_KEY: payer.key, MESH_BASE_URL: mesh.baseUrl }
      const words = ['chat', '-m', MODEL, '--metadata', 'mesh_simulate=tokens=40,hold=5', 'Count']
      const running = begin(words, { environment })
      await until('some of the answer is there', () => running.stdout() !== '')
      running.child.kill('SIGINT')
      assert.equal((await running.ended).code, 130)
      const shown = running.stdout()
      assert.ok(shown.endsWith('\n'))
      mesh.simulator.release()
      const spent = async () => {
        const { json } = await mesh.request('GET', '/v1/ledger', { key: payer.key })
        return json.data.filter(({ type }: { type: string }) => type === 'usage')
      }
      await until('the call is settled', async () => (await bookOf(mesh.database, payer.id)).heldNano === 0n)
      await until('it is in the ledger', async () => (await spent()).length > 0)
      const [row, ...others] = await spent()
      assert.deepEqual(others, [])
      const { json: event } = await mesh.request('GET', `/v1/logs/${row.requestId}`, { key: payer.key })
      assert.equal(event.billingReason, 'client_disconnected')
      const { balanceNano } = await bookOf(mesh.database, payer.id)
      assert.equal(balanceNano, nano('1.00') + nano(row.amountUsd))
    })

    test('Ctrl-C ends what waits for its input', async () => {
      const reading = begin(['chat'], { input: null })
      await once(reading.child.stderr, 'data')
      reading.child.kill('SIGINT')
      assert.equal((await reading.ended).code, 130)
    })

    test('whoever has read enough may go: a closed pipe is no failure', async () => {
      const { stderr, stdout } = await promisify(execFile)(
        'bash',
        ['-c', `"$0" "$1" models | head -n 1; echo "\${PIPESTATUS[0]}"`, program, project.command],
        { env: { ...process.env, MESH_API_KEY: account.key, MESH_BASE_URL: mesh.baseUrl } },
      )
      assert.deepEqual([stderr, stdout.split('\n').slice(1)], ['', ['0', '']])
    })
  })
}
