import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'

/** Whatever takes longer holds on to something. */
const PATIENCE_MS = 30_000

export interface Ended {
  /** The exit code; the signal where there was none. */
  readonly code: number | string
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcessWithoutNullStreams
  readonly ended: Promise<Ended>
  stdout(): string
}

export interface CommandOptions {
  readonly environment: Readonly<Record<string, string>>
  readonly cwd: string
  /** What it reads; nothing where it is not given, and an input without end for `null`. */
  readonly input?: string | null
}

/** Starts a program of Node's with no environment but what is given. It must end by itself. */
export function start(
  node: string,
  args: readonly string[],
  { environment, cwd, input = '' }: CommandOptions,
): Running {
  const env = { PATH: process.env.PATH ?? '', HOME: cwd, ...environment }
  const child = spawn(node, [...args], { cwd, env, timeout: PATIENCE_MS })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  // Who does not read its input closes it.
  child.stdin.on('error', () => {})
  if (input !== null) child.stdin.end(input)
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => {
      child.stdin.destroy()
      resolve({ code: code ?? String(signal), stdout, stderr })
    })
  })
  return { child, ended, stdout: () => stdout }
}
