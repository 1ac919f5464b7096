import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { verifyLedger } from './ledger/verify.ts'
import { describeError } from './log.ts'
import { verifyReceipt } from './records/verify-receipt.ts'
import { readSettings } from './settings.ts'
import { openDatabase } from './storage/database.ts'
import { startEmbeddedPostgres } from './storage/embedded-postgres.ts'
import { externalDatabaseError } from './storage/external-database.ts'
import { migrate } from './storage/migrate.ts'
import { StartupError } from './storage/startup-error.ts'

const PROJECT_FOLDER = resolve(import.meta.dirname, '../../..')

const HELP = `Usage: npm run ops -- <command>

  ledger verify                      replays the books; exit code 1 and a sentence for every difference
  receipt verify FILE --keys FILE    checks a receipt (JWS) against published keys, offline
  --help                             show this

The database is the router's own, by the same settings; a running router is not disturbed.
`

/** Resolves to the exit code: 0 in order, 1 a difference or an invalid receipt, 2 wrong words. */
async function main(): Promise<number> {
  const { positionals, values } = readArguments()
  if (values.help || positionals.length === 0) {
    process.stdout.write(HELP)
    return values.help ? 0 : 2
  }
  switch (positionals.slice(0, 2).join(' ')) {
    case 'ledger verify':
      return await verifyBooks()
    case 'receipt verify':
      return await verifyReceiptFile(positionals[2], values.keys)
    default:
      throw new StartupError('There is no such command. See: npm run ops -- --help')
  }
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { help: { type: 'boolean', short: 'h' }, keys: { type: 'string' } },
    })
  } catch {
    throw new StartupError('There is no such option. See: npm run ops -- --help')
  }
}

async function verifyBooks(): Promise<number> {
  const settings = readSettings(process.env, PROJECT_FOLDER, loadCatalog())
  const embedded = settings.databaseUrl
    ? undefined
    : await startEmbeddedPostgres({
        home: settings.home,
        binFolder: settings.postgresBin,
        whenBusy: 'attach',
        notice: (text) => process.stderr.write(`${text}\n`),
      })
  const connection = embedded?.connection ?? { url: settings.databaseUrl?.reveal() ?? '' }
  const database = openDatabase(connection, {
    poolSize: 2,
    applicationName: 'mesh ops',
    statementTimeoutMs: 0,
  })
  try {
    await migrate(database.pool).catch((error: unknown) => {
      throw embedded ? error : externalDatabaseError(error)
    })
    let differences = 0
    for await (const { check, sentence } of verifyLedger(database)) {
      differences++
      process.stdout.write(`${check}: ${sentence}\n`)
    }
    process.stdout.write(differences === 0 ? 'The books are in order.\n' : `${differences} differences.\n`)
    return differences === 0 ? 0 : 1
  } finally {
    await database.close()
    await embedded?.stop()
  }
}

async function verifyReceiptFile(file: string | undefined, keysFile: string | undefined): Promise<number> {
  if (file === undefined || keysFile === undefined) {
    throw new StartupError('Name the receipt and the keys: npm run ops -- receipt verify FILE --keys FILE')
  }
  const verdict = verifyReceipt(await read(file), parseJson(await read(keysFile)))
  if (!verdict.valid) {
    process.stdout.write(`NOT VALID: ${verdict.reason}\n`)
    return 1
  }
  process.stdout.write(`valid\n${JSON.stringify(verdict.claims, null, 2)}\n`)
  return 0
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(resolve(process.env.INIT_CWD ?? '.', file), 'utf8')
  } catch {
    throw new StartupError(`The file ${file} cannot be read.`)
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new StartupError('The key file is not JSON. Get it from /.well-known/mesh-receipt-keys.json')
  }
}

main().then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    if (error instanceof StartupError) process.stderr.write(`${error.message}\n`)
    else process.stderr.write(`The command failed: ${JSON.stringify(describeError(error))}\n`)
    process.exitCode = 2
  },
)
