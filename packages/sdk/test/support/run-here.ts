import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { run } from '../../src/command/run.ts'
import type { Ended } from './run-command.ts'

/** Runs the command in this process, on streams of its own. `isTTY` makes them terminals. */
export async function runHere(
  words: readonly string[],
  options: {
    readonly environment: Readonly<Record<string, string>>
    readonly input?: string
    readonly isTTY?: boolean
  },
): Promise<Ended> {
  const { environment, input = '', isTTY = false } = options
  const stdout = Object.assign(new PassThrough(), { isTTY })
  const stderr = Object.assign(new PassThrough(), { isTTY })
  const printed = Promise.all([text(stdout), text(stderr)])
  const stdin = Readable.from([Buffer.from(input)])
  const { signal } = new AbortController()
  const code = await run({ words, environment, stdin, stdout, stderr, signal })
  stdout.end()
  stderr.end()
  const [out, err] = await printed
  return { code, stdout: out, stderr: err }
}
