import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { Terminal } from './terminal.ts'

async function printed(
  { isTTY, environment = {} }: { isTTY: boolean; environment?: Record<string, string> },
  work: (terminal: Terminal) => Promise<void>,
): Promise<string> {
  const stdout = Object.assign(new PassThrough(), { isTTY })
  const all = text(stdout)
  await work(new Terminal({ stdout, stderr: stdout, json: false, environment }))
  stdout.end()
  return all
}

/** The control characters of a text, but for tab and line feed. */
function controlsIn(shown: string): string {
  return [...shown]
    .filter((character) => /[\p{Cc}\p{Cf}]/u.test(character) && !'\t\n'.includes(character))
    .join('')
}

suite('what is written to a terminal', () => {
  test('has colours only there, and not where NO_COLOR or a dumb one says so', async () => {
    const green = (terminal: Terminal) => terminal.line('valid', 'green')
    assert.equal(await printed({ isTTY: true }, green), '\u001b[32mvalid\u001b[39m\n')
    assert.equal(await printed({ isTTY: false }, green), 'valid\n')
    for (const environment of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) {
      assert.equal(await printed({ isTTY: true, environment }, green), 'valid\n')
    }
  })

  test('cannot steer it, whatever a model or a name says; a file gets every byte', async () => {
    const hostile = 'a\u001b]0;owned\u0007b\u001b[2Jc\u009b31md\re\u202ef\tg\nh'
    const write = (terminal: Terminal) => terminal.write(hostile)
    assert.equal(controlsIn(await printed({ isTTY: true }, write)), '')
    assert.match(await printed({ isTTY: true }, write), /f\tg\nh$/)
    assert.equal(await printed({ isTTY: false }, write), hostile)
    const table = (terminal: Terminal) => terminal.table(['name'], [[hostile]])
    assert.equal(controlsIn(await printed({ isTTY: false }, table)), '')
  })

  test('stands in columns, numbers to the right', async () => {
    const environment = { NO_COLOR: '1' }
    const table = (terminal: Terminal) =>
      terminal.table(
        ['model', 'calls', 'USD'],
        [
          ['mesh/auto', 12, '0.5'],
          [null, 3, '10.25'],
        ],
      )
    const lines = ['model      calls    USD', 'mesh/auto     12    0.5', '-              3  10.25', '']
    assert.equal(await printed({ isTTY: true, environment }, table), lines.join('\n'))
    assert.equal(
      await printed({ isTTY: false }, table),
      'model\tcalls\tUSD\nmesh/auto\t12\t0.5\n-\t3\t10.25\n',
    )
  })
})
