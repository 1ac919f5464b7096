import { closeSync, openSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { endOnCrash } from './crash.ts'
import { giveBackMemoryWhenIdle } from './give-back-memory.ts'
import { createLog, describeError, type Log } from './log.ts'
import { type Router, startRouter } from './router.ts'
import { systemSeams } from './seams.ts'
import { readSettings, type Settings, VARIABLES } from './settings.ts'
import { StartupError } from './storage/startup-error.ts'

const PROJECT_FOLDER = resolve(import.meta.dirname, '../../..')

const HELP = `Usage: npm start -- [--quiet] [--help]

Starts MESH: the router, its database and the provider simulators.

  --quiet   print one JSON line instead of words: {"url", "adminKeyFile", "testKey"?}
            (adminKeyFile is null where MESH_ADMIN_KEY is set)
  --help    show this

Settings come from the environment:
${VARIABLES.map(({ name, meaning, ...rest }) => {
  const preset = 'default' in rest ? ` Default: ${rest.default}.` : ''
  return `  ${name.padEnd(22)} ${meaning}${preset}`
}).join('\n')}
  OPENAI_API_KEY, ANTHROPIC_API_KEY, … the providers' own names; without one, a provider serves test keys only.
  MESH_<PROVIDER>_BASE_URL another host that speaks the provider's protocol.
`

async function main(): Promise<void> {
  // A disk that is full, or a terminal that is gone, must not end what calls depend on.
  for (const output of [process.stdout, process.stderr]) output.on('error', () => undefined)
  const quiet = readArguments()
  if (quiet === undefined) {
    process.stdout.write(HELP)
    return
  }
  const read = (): Settings => readSettings(process.env, PROJECT_FOLDER)
  const settings = read()
  const logLevel = settings.logLevel ?? (process.stderr.isTTY ? 'warn' : 'info')
  const log = createLog(logLevel)
  endOnCrash(log)
  const say = (text: string): void => {
    if (!quiet) process.stdout.write(`${text}\n`)
  }
  const tell = (text: string): void => void process.stderr.write(`${text}\n`)
  for (const warning of settings.warnings) tell(`Warning: ${warning}`)
  say('Starting MESH …')
  const starting = startRouter({
    settings: { ...settings, logLevel },
    log,
    seams: systemSeams,
    readAgain: read,
    notice: tell,
  })
  const stop = stopOnSignals(starting, say)
  reloadOnHangUp(starting, { log, tell, stop })
  const router = await starting
  process.stdout.write(quiet ? `${jsonLine(router)}\n` : words(router))
  giveBackMemoryWhenIdle()
}

/** Whether to be quiet; `undefined` asks for help. */
function readArguments(): boolean | undefined {
  try {
    const { values } = parseArgs({
      options: { quiet: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    })
    if (values.help) return undefined
    return values.quiet === true || !process.stdout.isTTY
  } catch {
    throw new StartupError('MESH takes --quiet and --help; everything else is set in the environment.')
  }
}

function jsonLine({ url, adminUrl, adminKeyFile, firstAccount }: Router): string {
  return JSON.stringify({
    url,
    ...(adminUrl === undefined ? {} : { adminUrl }),
    adminKeyFile,
    ...(firstAccount ? { testKey: firstAccount.testKey.reveal() } : {}),
  })
}

function words({ url, adminUrl, adminKeyFile, firstAccount }: Router): string {
  const lines = [
    `MESH is at ${url}`,
    ...(adminUrl === undefined ? [] : [`Operators have a port of their own at ${adminUrl}`]),
    adminKeyFile === null
      ? 'The admin key is the one in MESH_ADMIN_KEY'
      : `The admin key is in ${adminKeyFile}`,
  ]
  if (firstAccount) {
    const key = firstAccount.testKey.reveal()
    lines.push(
      '',
      'A demo account was made, with test credit. Test keys reach simulated providers, offline and at no cost.',
      `Its key, shown once: ${key}`,
      '',
      'A first call:',
      `curl ${url}/v1/chat/completions -H "Authorization: Bearer ${key}" -H "Content-Type: application/json" -d '{"model":"mesh/claude-sonnet-4.5","messages":[{"role":"user","content":"hello"}]}'`,
    )
  }
  lines.push('', 'Ctrl-C stops MESH.', '')
  return lines.join('\n')
}

/**
 * The first signal drains, also one that comes while the router starts; the second does not wait. What a killed
 * router held is released at the next start.
 */
function stopOnSignals(starting: Promise<Router>, say: (text: string) => void): () => void {
  let stopping = false
  const onSignal = (): void => {
    if (stopping) process.exit(1)
    stopping = true
    say('Stopping: running calls may end. Ctrl-C again stops at once.')
    starting
      .then((router) => router.stop())
      .then(() => process.exit(0))
      // A start that failed has said so by then.
      .catch(() => process.exit(1))
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return onSignal
}

interface HangUp {
  readonly log: Log
  readonly tell: (text: string) => void
  readonly stop: () => void
}

/**
 * Closing a terminal sends SIGHUP, and so does whoever wants the settings to be read again: where the terminal that
 * MESH was started from is gone it stops, and otherwise it reads them.
 */
function reloadOnHangUp(starting: Promise<Router>, { log, tell, stop }: HangUp): void {
  let reloading: Promise<unknown> = starting
  const reload = async (): Promise<void> => {
    const router = await starting
    try {
      const fromNextStart = await router.reload()
      log.info('the settings were read again')
      for (const setting of fromNextStart) {
        log.warn('a changed setting counts from the next start', { setting })
        tell(`${setting} was changed: it counts from the next start.`)
      }
    } catch (error) {
      // What was wrong is told in words to whoever looks, and as a code to the log.
      tell(
        `The settings are as they were. ${error instanceof StartupError ? error.message : 'They could not be read.'}`,
      )
      log.error('the settings could not be read again', describeError(error))
    }
  }
  const hadTerminal = hasTerminal()
  process.on('SIGHUP', () => {
    if (hadTerminal && !hasTerminal()) stop()
    // One after the other, so that the last file that was written is the one that counts.
    else reloading = reloading.then(reload, () => undefined)
  })
}

/** Whether this process has a terminal that could be closed under it. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}

main().catch((error: unknown) => {
  if (error instanceof StartupError) process.stderr.write(`${error.message}\n`)
  else process.stderr.write(`MESH could not start: ${JSON.stringify(describeError(error))}\n`)
  process.exit(1)
})
