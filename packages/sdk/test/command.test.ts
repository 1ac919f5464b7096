import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import {
  startTestRouter,
  type TestAccount,
  type TestRouter,
} from '../../../apps/router/test/support/test-router.ts'
import { COMMANDS } from '../src/command/commands.ts'
import { EXIT_CODES } from '../src/command/exit-codes.ts'
import { runHere } from './support/run-here.ts'

const MODEL = 'mesh/gpt-4o-mini'

suite('meshrouter', () => {
  let mesh: TestRouter
  let folder: string
  let account: TestAccount

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mesh-command-'))
    mesh = await startTestRouter()
    account = await mesh.account()
  })
  after(async () => {
    await mesh?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const runWith = (environment: Record<string, string>, ...words: string[]) =>
    runHere(words, { environment: { HOME: folder, MESH_BASE_URL: mesh.baseUrl, ...environment } })
  const run = (...words: string[]) => runWith({ MESH_API_KEY: account.key }, ...words)

  test('what is known of calls, money and models is shown, and as JSON is what the API answers', async () => {
    const { stdout } = await run('chat', '--json', '-m', MODEL, 'hello')
    const { id } = JSON.parse(stdout)
    const behind = await run('chat', '-m', MODEL, '--', '--json')
    assert.match(behind.stdout, /^Simulated answer/, 'what stands behind -- is no option')
    for (const [words, expected] of [
      [['models', 'sonnet'], /mesh\/claude-sonnet-4\.5\tchat/],
      [['models', 'mesh/claude-sonnet-4.5'], /amazon-bedrock\tmesh\/claude-sonnet-4\.5/],
      [['route', '-m', 'mesh/best', 'hello'], /^rank\tmodel/],
      [['usage', '--by', 'model'], /mesh\/gpt-4o-mini\t/],
      [['logs', '-n', '5'], new RegExp(id)],
      [['ledger', '-n', '5'], /usage\t-0\./],
      [['keys'], new RegExp(`${account.keyId}\tTest key\ttest`)],
      [['keys', 'show'], /"remaining":/],
      [['logs', id], /"object":"request_event"/],
    ] as const) {
      const shown = await run(...words)
      assert.deepEqual([shown.code, shown.stderr.includes('meshrouter:')], [0, false], shown.stderr)
      assert.match(shown.stdout, expected)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: there are to be none
      assert.doesNotMatch(shown.stdout + shown.stderr, /\u001b/)
      const json = await run(...words, '--json')
      assert.equal(json.code, 0)
      assert.equal(typeof JSON.parse(json.stdout), 'object')
    }
  })

  test('a key is made with limits, kept in a file of its own, used, limited, rotated and revoked', async () => {
    const file = join(folder, 'batch.key')
    const limits = ['--limit', 'dailyUsdLimit=1.00', '--limit', 'requestsPerMinute=1']
    const made = await run('keys', 'create', 'batch', '--scopes', 'chat,usage', ...limits, '--save', file)
    const id = made.stdout.trim()
    assert.match(id, /^key_/)
    const secret = await readFile(file, 'utf8')
    assert.ok(!made.stderr.includes(secret.trim()) && !made.stdout.includes(secret.trim()))
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    assert.equal((await run('keys', 'create', 'again', '--save', file)).code, 2)

    const use = () => runWith({ MESH_API_KEY_FILE: file }, 'chat', '-m', MODEL, 'hello')
    assert.equal((await use()).code, 0)
    const limited = await use()
    assert.deepEqual([limited.code, limited.stderr.includes('rate_limit_exceeded')], [1, true])
    const raised = await run('keys', 'limit', id, 'requestsPerMinute=none', 'allowedModels=mesh/gpt-4o-mini')
    assert.match(raised.stdout, /dailyUsdLimit=1\.000000000 allowedModels=mesh\/gpt-4o-mini/)
    assert.equal((await use()).code, 0)

    await chmod(file, 0o644)
    const open = await use()
    assert.deepEqual([open.code, open.stderr.includes('chmod 600')], [3, true])
    await chmod(file, 0o600)

    const rotated = await run('keys', 'rotate', id)
    assert.match(rotated.stdout, /^mesh_test_[0-9A-Za-z]{49}\n$/)
    assert.match((await use()).stderr, /key_revoked/)
    const successor = await runWith({ MESH_API_KEY: rotated.stdout }, 'keys', 'show')
    assert.match((await run('keys', 'revoke', JSON.parse(successor.stdout).id)).stdout, /is revoked/)
  })

  test('a key is taken from the environment or a file, never from the command line, and only one of MESH', async () => {
    const foreign = 'sk-proj-abcdefghijklmnop'
    const onLine = await run('chat', `--system=${account.key}`, 'hello')
    assert.equal(onLine.code, 2)
    assert.ok(!onLine.stderr.includes(account.key) && onLine.stderr.includes('rotate'))
    assert.equal((await run('chat', '--api-key', account.key, 'hello')).code, 2)
    assert.equal((await runWith({}, 'keys')).code, 3)
    assert.equal((await runWith({ OPENAI_API_KEY: foreign }, 'keys')).code, 3)
    const refused = await runWith({ MESH_API_KEY: foreign }, 'keys')
    assert.deepEqual([refused.code, refused.stderr.includes(foreign)], [3, false])
    assert.equal((await runWith({ OPENAI_API_KEY: account.key }, 'keys')).code, 0)
    await writeFile(join(folder, 'key'), account.key, { mode: 0o600 })
    assert.equal((await runWith({ MESH_API_KEY_FILE: join(folder, 'key') }, 'keys')).code, 0)
  })

  test('a receipt that was kept verifies offline and without a key; a changed one does not', async () => {
    const { stdout } = await run('chat', '--json', '-m', MODEL, 'hello')
    const shown = await run('receipt', 'show', JSON.parse(stdout).id)
    const [receipt, keys] = [join(folder, 'receipt.json'), join(folder, 'keys.json')]
    await writeFile(receipt, shown.stdout)
    await writeFile(keys, (await runWith({}, 'receipt', 'keys')).stdout)
    const offline = { MESH_BASE_URL: 'http://127.0.0.1:9/v1' }
    const verify = (file: string) => runWith(offline, 'receipt', 'verify', file, '--keys', keys)
    const verified = await verify(receipt)
    assert.deepEqual([verified.code, verified.stdout.split('\n')[0]], [0, 'valid'])
    assert.equal((await runWith(offline, 'receipt', 'verify', receipt)).code, 5)
    assert.equal((await run('receipt', 'verify', JSON.parse(shown.stdout).id)).code, 0)
    const jws = await runHere(['receipt', 'verify', '-', '--json'], {
      environment: { MESH_BASE_URL: mesh.baseUrl },
      input: JSON.parse(shown.stdout).jws,
    })
    assert.equal(JSON.parse(jws.stdout).valid, true)
    const changed = shown.stdout.replace(/"totalUsd":"0\.0/, '"totalUsd":"9.0')
    assert.notEqual(changed, shown.stdout)
    await writeFile(receipt, changed)
    const refused = await verify(receipt)
    assert.deepEqual([refused.code, refused.stdout], [4, ''])
    await writeFile(receipt, 'no receipt at all')
    assert.equal((await verify(receipt)).code, 4)
  })

  test('exit codes tell what was refused, misspelt and not reached', async () => {
    const unknown = await run('chat', '-m', 'mesh/nothing-like-it', 'hello')
    assert.deepEqual([unknown.code, /model_not_found, req_/.test(unknown.stderr)], [1, true])
    const json = await run('chat', '--json', '-m', 'mesh/nothing-like-it', 'hello')
    assert.equal(JSON.parse(json.stderr).error.code, 'model_not_found')
    for (const words of [
      [],
      ['chatt'],
      ['keys', 'creat'],
      ['models', '--bogus'],
      ['usage', '--by', 'hour'],
    ]) {
      assert.equal((await run(...words)).code, 2, words.join(' '))
    }
    const gone = await run('models', '--base-url', 'http://127.0.0.1:9/v1')
    assert.equal(gone.code, 5)
    assert.equal((await run('doctor')).code, 0)
    const ill = await run('doctor', '--json', '--base-url', 'http://127.0.0.1:9/v1')
    assert.deepEqual([ill.code, JSON.parse(ill.stdout).ok], [1, false])
    const bare = createServer(({ url }, response) => response.writeHead(url === '/readyz' ? 200 : 404).end())
    await new Promise<void>((listening) => bare.listen(0, '127.0.0.1', listening))
    const address = bare.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    const keyless = await run('doctor', '--base-url', `http://127.0.0.1:${port}/v1`)
    bare.close()
    assert.match(keyless.stdout, /FAIL {2}receipt keys: .* publishes no keys for receipts/)
    const poor = await mesh.account({ creditUsd: '0' })
    assert.match((await runWith({ MESH_API_KEY: poor.key }, 'doctor')).stdout, /FAIL {2}account: .*\$0\.0/)
  })
})

suite('the list of commands', () => {
  const run = (...words: string[]) => runHere(words, { environment: {} })

  test('is what help shows: each command has its own, with its options and an example', async () => {
    const overview = await run('--help')
    assert.equal(overview.code, 0)
    for (const { code, meaning } of Object.values(EXIT_CODES)) {
      assert.ok(overview.stdout.includes(`${String(code).padEnd(4)}${meaning}`))
    }
    for (const { name, summary, options: own = {}, examples } of COMMANDS) {
      assert.ok(overview.stdout.includes(summary), name)
      const { code, stdout } = await run(...name.split(' '), '--help')
      assert.equal(code, 0)
      assert.ok(stdout.startsWith(`Usage: meshrouter ${name} `) && stdout.includes('\nExample:\n  '), name)
      for (const option of [...Object.keys(own), 'json', 'help']) assert.ok(stdout.includes(`--${option}`))
      assert.ok(examples.length > 0 && examples.every((example) => example.includes(`meshrouter ${name}`)))
      assert.equal((await run('help', ...name.split(' '))).stdout, stdout)
    }
    assert.equal((await run('--version')).stdout, '0.1.0\n')
  })

  test('has no command in its examples that the command line would not take', () => {
    for (const { name, options: own = {}, examples } of COMMANDS) {
      for (const example of examples) {
        const used = [...example.matchAll(/ --?([a-z][a-z-]*)/g)].map(([, option = '']) => option)
        const known = Object.entries(own).flatMap(([option, { short = '' }]) => [option, short])
        for (const option of used) assert.ok(known.includes(option), `${name}: --${option}`)
      }
    }
  })

  test('completes in bash, and names every option in the others', async () => {
    const script = (await run('completion', 'bash')).stdout
    const complete = (...words: string[]) => {
      const line = `${script}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}) COMP_CWORD=${words.length - 1}\n_meshrouter; printf '%s\\n' "\${COMPREPLY[@]}"`
      const { stdout, status } = spawnSync('bash', ['-c', line], { encoding: 'utf8' })
      assert.equal(status, 0)
      return stdout.trim().split('\n')
    }
    const first = [...new Set(COMMANDS.map(({ name }) => name.split(' ')[0]))]
    assert.deepEqual(complete('meshrouter', '').slice(0, first.length), first)
    assert.deepEqual(complete('meshrouter', 'rece'), ['receipt'])
    assert.deepEqual(complete('meshrouter', 'receipt', 'v'), ['verify'])
    assert.deepEqual(complete('meshrouter', 'receipt', 'verify', '--k'), ['--keys'])
    assert.deepEqual(complete('meshrouter', 'completion', ''), [
      'bash',
      'zsh',
      'fish',
      '--json',
      '--base-url',
      '--help',
    ])
    assert.deepEqual(complete('meshrouter', 'chat', '--min-class', 'p'), ['protected', 'private_gateway'])
    for (const shell of ['zsh', 'fish']) {
      const { stdout } = await run('completion', shell)
      for (const { options: own = {} } of COMMANDS) {
        for (const option of Object.keys(own)) assert.ok(stdout.includes(option), `${shell}: ${option}`)
      }
    }
  })

  for (const shell of ['zsh', 'fish']) {
    const skip = spawnSync(shell, ['--version']).error === undefined ? false : `there is no ${shell} here`
    test(`completion for ${shell} is a script that it can read`, { skip }, async (t) => {
      const { stdout } = await run('completion', shell)
      const folder = await mkdtemp(join(tmpdir(), 'mesh-completion-'))
      t.after(() => rm(folder, { recursive: true }))
      const file = join(folder, `completion.${shell}`)
      await writeFile(file, stdout)
      const checked = spawnSync(shell, ['-n', file], { encoding: 'utf8' })
      assert.equal(checked.status, 0, checked.stderr)
    })
  }
})
