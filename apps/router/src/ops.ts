import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { MeshError } from './errors.ts'
import { describeError } from './log.ts'
import { backup } from './ops/backup.ts'
import { type Command, type OpsContext, UsageError } from './ops/command.ts'
import { exportCommand } from './ops/export.ts'
import { importCommand } from './ops/import.ts'
import { ledgerVerify } from './ops/ledger-verify.ts'
import { receiptVerify } from './ops/receipt-verify.ts'
import { routeReplay } from './ops/route-replay.ts'
import { readSettings, type Settings } from './settings.ts'
import { StartupError } from './storage/startup-error.ts'
import { storageError } from './storage/storage-error.ts'

const PROJECT_FOLDER = resolve(import.meta.dirname, '../../..')

const COMMANDS: readonly Command[] = [
  ledgerVerify,
  receiptVerify,
  routeReplay,
  exportCommand,
  importCommand,
  backup,
]

const HELP = `Usage: npm run ops -- <command>

${COMMANDS.map(({ help }) => help.replace(/^/gm, '  ')).join('\n\n')}

  --help
    Shows this.

The database is the router's own, by the same settings; a running router is not disturbed.
Exit codes: 0 done and in order, 1 not in order or not to be done, 2 wrong words.

Examples:
  npm run ops -- backup /backups/mesh --keep 14 --json     every night, from cron
  npm run ops -- export move.mesh --final                  the books go elsewhere: stop the routers first
  DATABASE_URL=… npm run ops -- import move.mesh           there
  npm run ops -- import mesh-books-….mesh --revocations saved/revocations     after a loss
`

/** Resolves to the exit code. */
async function main(words: readonly string[], signal: AbortSignal): Promise<number> {
  if (words.length === 0 || words.some((word) => word === '--help' || word === '-h')) {
    process.stdout.write(HELP)
    return words.length === 0 ? 2 : 0
  }
  const command = COMMANDS.find((known) => known.words.every((word, place) => words[place] === word))
  if (command === undefined) throw new UsageError('There is no such command. See: npm run ops -- --help')
  const { positionals, values } = readArguments(command, words.slice(command.words.length))
  return await command.run(contextOf(signal), positionals, values)
}

function readArguments({ options, operands: [least, most] }: Command, args: string[]) {
  const read = () => {
    try {
      return parseArgs({ args, options, allowPositionals: true })
    } catch {
      throw new UsageError('There is no such option here. See: npm run ops -- --help')
    }
  }
  const { positionals, values } = read()
  if (positionals.length >= least && positionals.length <= most) return { positionals, values }
  throw new UsageError('That is too much or too little. See: npm run ops -- --help')
}

function contextOf(signal: AbortSignal): OpsContext {
  let settings: Settings | undefined
  return {
    settings: () => {
      settings ??= readSettings(process.env, PROJECT_FOLDER)
      return settings
    },
    mesh: JSON.parse(readFileSync(resolve(PROJECT_FOLDER, 'package.json'), 'utf8')).version,
    pathOf: (file) => resolve(process.env.INIT_CWD ?? '.', file),
    say: (text) => void process.stdout.write(`${text}\n`),
    tell: (text) => void process.stderr.write(`${text}\n`),
    signal,
  }
}

function isSentence(error: unknown): error is Error {
  return error instanceof StartupError || error instanceof MeshError
}

const interruption = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interruption.abort())

main(process.argv.slice(2), interruption.signal).then(
  (code) => {
    process.exitCode = code
  },
  (thrown: unknown) => {
    const error = storageError(thrown)
    if (interruption.signal.aborted) process.stderr.write('Interrupted: nothing was written.\n')
    else if (isSentence(error)) process.stderr.write(`${error.message}\n`)
    else process.stderr.write(`The command failed: ${JSON.stringify(describeError(error))}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  },
)
