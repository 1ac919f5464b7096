import type { Database } from '../storage/database.ts'
import { type ExportedBooks, exportBooks } from '../storage/export-books.ts'
import { migrate } from '../storage/migrate.ts'
import { moveAway, requireNoRouter, undoMove } from '../storage/moved-away.ts'
import { StartupError } from '../storage/startup-error.ts'
import { type Command, type OpsContext, UsageError } from './command.ts'
import { withDatabase } from './open-database.ts'
import { ownSigningKeyId } from './own-signing-key.ts'
import { rowProgress, rowsIn } from './progress.ts'

const KEYS_ARE_FILES =
  'It does not hold signing-key.pem and the admin key: keep these files too, elsewhere and as you keep keys.'

export const exportCommand: Command = {
  words: ['export'],
  options: { final: { type: 'boolean' }, undo: { type: 'boolean' } },
  operands: [0, 1],
  help: `export FILE [--final]
    Writes the books as they are at one moment into a new file; routers may run.
    --final  for a move: needs every router stopped, and puts this database out of use
export --undo
    Takes a move back: routers start on this database again. Only where the file is not in use elsewhere.`,
  async run(context, [file], { final, undo }) {
    if (undo === true) {
      if (file !== undefined || final === true)
        throw new UsageError('--undo takes no file: npm run ops -- export --undo')
      return await takeBack(context)
    }
    if (file === undefined) throw new UsageError('Name the file to write: npm run ops -- export FILE')
    const path = context.pathOf(file)
    const { header, rowsByTable, sha256 } =
      final === true
        ? await withDatabase(context, { whenBusy: 'refuse', create: false }, (database) =>
            exportFinally(context, database, path),
          )
        : await withDatabase(context, { whenBusy: 'attach', create: false }, (database) =>
            exportTo(context, database, path),
          )
    context.say(
      `${path}: ${rowsIn(rowsByTable).toLocaleString('en')} rows as of ${header.takenAt}, SHA-256 ${sha256}`,
    )
    context.say(KEYS_ARE_FILES)
    if (header.final) {
      context.say(
        'This database is out of use now: import the file where MESH goes on, or say "export --undo".',
      )
    }
    return 0
  },
}

/** Writes the books into a new file and tells how far it is. */
export async function exportTo(
  context: OpsContext,
  database: Database,
  path: string,
): Promise<ExportedBooks> {
  context.tell(`Writing ${path} …`)
  return await exportBooks(database, {
    path,
    mesh: context.mesh,
    signingKeyId: await ownSigningKeyId(context.settings()),
    signal: context.signal,
    onRows: rowProgress(context),
  })
}

/** Nothing happens between the end of use and the moment of the export; where that fails, the books stay in use. */
async function exportFinally(context: OpsContext, database: Database, path: string): Promise<ExportedBooks> {
  await requireNoRouter(database.pool)
  await migrate(database.pool)
  const wereInUse = await moveAway(database)
  try {
    return await exportTo(context, database, path)
  } catch (error) {
    if (wereInUse) await undoMove(database)
    throw error
  }
}

async function takeBack(context: OpsContext): Promise<number> {
  return await withDatabase(context, { whenBusy: 'attach', create: false }, async (database) => {
    if (!(await undoMove(database))) throw new StartupError('These books were not moved away.')
    context.say(
      'Routers start on these books again. Delete the file of the move: its credit would be spent twice.',
    )
    return 0
  })
}
