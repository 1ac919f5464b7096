import { verifyLedger } from '../ledger/verify.ts'
import { externalDatabaseError } from '../storage/external-database.ts'
import { migrate } from '../storage/migrate.ts'
import type { Command } from './command.ts'
import { withDatabase } from './open-database.ts'

export const ledgerVerify: Command = {
  words: ['ledger', 'verify'],
  options: {},
  operands: [0, 0],
  help: `ledger verify
    Replays the books; exit code 1 and a sentence for every difference.`,
  run: (context) =>
    withDatabase(context, { whenBusy: 'attach', create: true }, async (database) => {
      await migrate(database.pool).catch((error: unknown) => {
        throw context.settings().databaseUrl ? externalDatabaseError(error) : error
      })
      let differences = 0
      for await (const { check, sentence } of verifyLedger(database)) {
        differences++
        context.say(`${check}: ${sentence}`)
      }
      context.say(differences === 0 ? 'The books are in order.' : `${differences} differences.`)
      return differences === 0 ? 0 : 1
    }),
}
