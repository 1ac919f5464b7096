import { spawn } from 'node:child_process'
import { once } from 'node:events'

/**
 * A shell that outlives this process by a moment. Its script reads lines until its input closes: when `end` is called,
 * and also when this process is gone, however it went. So what a test started never stays behind.
 */
export interface Guard {
  /** Writes one line to the script. */
  tell(line: string): void
  /** Closes the script's input and waits until it has ended. */
  end(): Promise<void>
}

/** Starts a script of `/bin/sh`; it finds the words in `$1`, `$2`, … */
export function startGuard(script: string, ...words: readonly string[]): Guard {
  const shell = spawn('/bin/sh', ['-c', script, 'sh', ...words], {
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  // A script that was ended from outside is noticed by nobody who still talks to it.
  shell.stdin.on('error', () => undefined)
  shell.unref()
  if ('unref' in shell.stdin && typeof shell.stdin.unref === 'function') shell.stdin.unref()
  return {
    tell(line) {
      if (!shell.stdin.writableEnded) shell.stdin.write(`${line}\n`)
    },
    async end() {
      if (shell.exitCode !== null || shell.signalCode !== null) return
      shell.ref()
      const ended = once(shell, 'exit')
      shell.stdin.end()
      await ended
    },
  }
}

/**
 * Ends processes and takes a folder away. Each line that it reads names all of them, each behind the signal that ends
 * it, as in `KILL:123 QUIT:456`; the last line counts. One that was stopped has to go on before it can end.
 */
const ENDING = `
last=
while IFS= read -r line; do last=$line; done
for each in $last; do
  kill -"\${each%%:*}" "\${each#*:}" 2>/dev/null
  kill -CONT "\${each#*:}" 2>/dev/null
done
for each in $last; do
  n=0
  while kill -0 "\${each#*:}" 2>/dev/null && [ $n -lt 200 ]; do n=$((n + 1)); sleep 0.05; done
done
rm -rf -- "$1"
`

/** Processes that must not outlive this one, and the folder that they use. */
export interface Wards {
  /** Replaces the processes that are ended when this one is gone. */
  watch(pids: readonly { readonly pid: number; readonly signal: 'KILL' | 'QUIT' }[]): void
  /** Ends them, and takes the folder away. */
  end(): Promise<void>
}

export function guardFolder(folder: string): Wards {
  const guard = startGuard(ENDING, folder)
  return {
    watch: (pids) => guard.tell(pids.map(({ pid, signal }) => `${signal}:${pid}`).join(' ')),
    end: () => guard.end(),
  }
}
