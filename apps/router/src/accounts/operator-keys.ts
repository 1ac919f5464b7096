import { timingSafeEqual } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { sql } from 'kysely'
import { MeshError } from '../errors.ts'
import { type Id, newId, type Seams } from '../ids.ts'
import { Sensitive } from '../sensitive.ts'
import { prepareHome } from '../storage/data-folder.ts'
import type { Database } from '../storage/database.ts'
import { StartupError } from '../storage/startup-error.ts'
import { recordAudit } from './audit.ts'
import { hashSecret, parseSecret } from './key-secret.ts'

export type OperatorId = Id<'opk'>

/** Who runs MESH. An operator key reaches the operator routes and nothing else. */
export interface Operator {
  readonly id: OperatorId
  readonly name: string
}

const SECRET_CHARACTERS_MIN = 32
const SECRET_CHARACTERS_MAX = 512
/** What an HTTP header carries as it is. */
const OPERATOR_SECRET = new RegExp(`^[\\x21-\\x7e]{${SECRET_CHARACTERS_MIN},${SECRET_CHARACTERS_MAX}}$`)
const RANDOM_BYTES = 32
/** Names of the keys that a start makes sure of. A file's on a shared database has its folder's mark behind it. */
const FROM_SETTING = 'MESH_ADMIN_KEY'
const FROM_FILE = 'admin-key file'
const FOLDER_MARK_FILE = 'admin-key.folder'
const FOLDER_MARK = /^[0-9a-f]{16}$/
const FOLDER_MARK_BYTES = 8

/** The operator that a secret belongs to, if any. */
export async function findOperator(
  database: Pick<Database, 'query'>,
  secret: Sensitive<string>,
): Promise<Operator | undefined> {
  if (!OPERATOR_SECRET.test(secret.reveal())) return undefined
  return operatorAmong(await readOperatorKeys(database), secret)
}

/** An operator key as it is stored. */
export interface StoredOperatorKey extends Operator {
  readonly secret_sha256: Buffer
}

/** Every operator key that counts. */
export function readOperatorKeys(database: Pick<Database, 'query'>): Promise<readonly StoredOperatorKey[]> {
  return database.query
    .selectFrom('operator_keys')
    .select(['id', 'name', 'secret_sha256'])
    .where('revoked_at', 'is', null)
    .execute()
}

/** The operator among these whose key it is. Every one is compared, in constant time. */
export function operatorAmong(
  keys: readonly StoredOperatorKey[],
  secret: Sensitive<string>,
): Operator | undefined {
  const presented = hashSecret(secret.reveal())
  let found: Operator | undefined
  for (const { id, name, secret_sha256 } of keys) {
    if (timingSafeEqual(secret_sha256, presented)) found = { id, name }
  }
  return found
}

/** @throws MeshError `invalid_api_key`, or `insufficient_scope` for a key that is an account's. */
export async function authenticateOperator(
  database: Pick<Database, 'query'>,
  secret: Sensitive<string>,
): Promise<Operator> {
  const operator = await findOperator(database, secret)
  if (operator) return operator
  throw new MeshError('invalid_api_key', 'MESH does not know this operator key.')
}

export interface FirstOperatorKeyOptions {
  readonly database: Pick<Database, 'query'>
  readonly seams: Seams
  /** `MESH_ADMIN_KEY`. */
  readonly configured?: Sensitive<string>
  /** Where the key is kept that MESH makes when none is configured; readable by its owner alone. */
  readonly file: string
  /** Whether other routers, with folders of their own, may use the database. */
  readonly isShared: boolean
}

/**
 * Makes sure at start that there is an operator key: the configured one, else the one in the file, else a new one
 * written to the file. Keys that earlier starts made stop, so a key is withdrawn by taking it out of the setting or
 * deleting its file. The configured one is the same on every router and stands for all, so it replaces every other.
 * A file belongs to its folder: where other routers use the database, it replaces only what was in the same file
 * before, and nobody else's key.
 * @throws StartupError where the configured key is too short or the file cannot be used.
 */
export async function ensureOperatorKey(options: FirstOperatorKeyOptions): Promise<Operator> {
  const { configured } = options
  if (configured === undefined) {
    const secret = await keyInFile(options)
    return storeOperatorKey(options, options.isShared ? await nameInFolder(options) : FROM_FILE, secret)
  }
  const secret = configured.reveal()
  if (!OPERATOR_SECRET.test(secret) || parseSecret(secret).kind !== 'foreign') {
    throw new StartupError(
      `MESH_ADMIN_KEY must have ${SECRET_CHARACTERS_MIN} to ${SECRET_CHARACTERS_MAX} printable ASCII characters without spaces, and must not be a key of an account.`,
    )
  }
  return storeOperatorKey(options, FROM_SETTING, configured)
}

async function keyInFile({ file, seams }: FirstOperatorKeyOptions): Promise<Sensitive<string>> {
  await prepareHome(dirname(file))
  const kept = new Sensitive(
    await readOrMake(
      file,
      () => `mesh_admin_${Buffer.from(seams.randomBytes(RANDOM_BYTES)).toString('base64url')}`,
    ),
  )
  if (OPERATOR_SECRET.test(kept.reveal())) return kept
  throw new StartupError(
    'The admin key file in MESH_HOME is damaged. Delete it: the next start makes a new key.',
  )
}

/** The mark lies beside the key, so that it outlives the key's deletion. */
async function nameInFolder({ file, seams }: FirstOperatorKeyOptions): Promise<string> {
  const mark = await readOrMake(join(dirname(file), FOLDER_MARK_FILE), () =>
    Buffer.from(seams.randomBytes(FOLDER_MARK_BYTES)).toString('hex'),
  )
  if (FOLDER_MARK.test(mark)) return `${FROM_FILE} ${mark}`
  throw new StartupError(`The file ${FOLDER_MARK_FILE} in MESH_HOME is damaged. Delete it.`)
}

async function readOrMake(file: string, make: () => string): Promise<string> {
  try {
    const handle = await open(file, 'wx', 0o600)
    try {
      const made = make()
      await handle.writeFile(`${made}\n`)
      await handle.sync()
      return made
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) {
      throw new StartupError('The admin key file in MESH_HOME cannot be written.', error)
    }
  }
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    throw new StartupError('The admin key file in MESH_HOME cannot be read: check its owner and mode.', error)
  }
}

async function storeOperatorKey(
  { database, seams, isShared }: FirstOperatorKeyOptions,
  name: string,
  secret: Sensitive<string>,
): Promise<Operator> {
  const secretSha256 = hashSecret(secret.reveal())
  return database.query.transaction().execute(async (transaction) => {
    // Routers that start together with different keys follow one another.
    await sql`lock table operator_keys in share row exclusive mode`.execute(transaction)
    const stored = await transaction
      .insertInto('operator_keys')
      .values({ id: newId('opk', seams), name, secret_sha256: secretSha256 })
      .onConflict((conflict) => conflict.column('secret_sha256').doUpdateSet({ name, revoked_at: null }))
      .returning('id')
      .executeTakeFirstOrThrow()
    const standsForAll = name === FROM_SETTING || !isShared
    const replaced = await transaction
      .updateTable('operator_keys')
      .set({ revoked_at: new Date(seams.now()) })
      .where((where) =>
        standsForAll
          ? where.or([where('name', '=', FROM_SETTING), where('name', 'like', `${FROM_FILE}%`)])
          : where('name', '=', name),
      )
      .where('id', '<>', stored.id)
      .where('revoked_at', 'is', null)
      .returning('id')
      .execute()
    for (const { id } of replaced) {
      await recordAudit(transaction, seams, {
        actor: stored.id,
        action: 'operator_key.replaced',
        target: id,
        after: { successorId: stored.id },
      })
    }
    return { id: stored.id, name }
  })
}
