#!/usr/bin/env node
/** The program `meshrouter`: this file joins it to the process, everything else is in `run.ts`. */
import { EXIT_CODES } from './exit-codes.ts'
import { run } from './run.ts'

const interrupted = new AbortController()

// The first Ctrl-C ends the call, so that MESH hears of it; the second ends the program.
process.on('SIGINT', () => {
  if (interrupted.signal.aborted) process.exit(EXIT_CODES.interrupted.code)
  interrupted.abort()
})
// Whoever closes the other end of a pipe, as head does, has read enough.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT_CODES.done.code)
    throw error
  })
}

process.exitCode = await run({
  words: process.argv.slice(2),
  environment: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupted.signal,
})
