/**
 * A process that starts the embedded PostgreSQL of the folder given to it and holds it until its standard input
 * ends: what a router does, so that tests can kill one. Prints one line of JSON when it is up, its notices on
 * standard error, and the one sentence of a refusal there too.
 */
import { startEmbeddedPostgres } from '../../src/storage/embedded-postgres.ts'
import { StartupError } from '../../src/storage/startup-error.ts'

const [home = ''] = process.argv.slice(2)
// Ctrl-C begins a drain in a router; the database must still be there for it.
process.on('SIGINT', () => process.stdout.write('interrupted\n'))
try {
  const postgres = await startEmbeddedPostgres({
    home,
    notice: (text) => process.stderr.write(`${text}\n`),
  })
  process.stdout.write(`${JSON.stringify({ origin: postgres.origin, connection: postgres.connection })}\n`)
  for await (const _ of process.stdin);
  await postgres.stop()
} catch (error) {
  if (!(error instanceof StartupError)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}
