import { timingSafeEqual } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { MeshError } from '../errors.ts'
import { type Id, newId, type Seams } from '../ids.ts'
import { Sensitive } from '../sensitive.ts'
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
/** Names of the keys that a start makes sure of. */
const FROM_SETTING = 'MESH_ADMIN_KEY'
const FROM_FILE = 'admin-key file'

/** The operator that a secret belongs to, if any. Every stored hash is compared, in constant time. */
export async function findOperator(
  database: Pick<Database, 'query'>,
  secret: Sensitive<string>,
): Promise<Operator | undefined> {
  if (!OPERATOR_SECRET.test(secret.reveal())) return undefined
  const presented = hashSecret(secret.reveal())
  const keys = await database.query
    .selectFrom('operator_keys')
    .select(['id', 'name', 'secret_sha256'])
    .where('revoked_at', 'is', null)
    .execute()
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
  /** `MESH_ADMIN_KEY`. The key that it named at an earlier start stops. */
  readonly configured?: Sensitive<string>
  /** Where the key is kept that MESH makes when none is configured; readable by its owner alone. */
  readonly file: string
}

/**
 * Makes sure at start that there is an operator key: the configured one, else the one in the file, else a new one
 * written to the file.
 * @throws StartupError where the configured key is too short or the file cannot be used.
 */
export async function ensureOperatorKey(options: FirstOperatorKeyOptions): Promise<Operator> {
  const { configured } = options
  if (configured === undefined) return storeOperatorKey(options, FROM_FILE, await keyInFile(options))
  const secret = configured.reveal()
  if (!OPERATOR_SECRET.test(secret) || parseSecret(secret).kind !== 'foreign') {
    throw new StartupError(
      `MESH_ADMIN_KEY must have ${SECRET_CHARACTERS_MIN} to ${SECRET_CHARACTERS_MAX} printable ASCII characters without spaces, and must not be a key of an account.`,
    )
  }
  return storeOperatorKey(options, FROM_SETTING, configured)
}

async function keyInFile({ file, seams }: FirstOperatorKeyOptions): Promise<Sensitive<string>> {
  try {
    const handle = await open(file, 'wx', 0o600)
    try {
      const made = `mesh_admin_${Buffer.from(seams.randomBytes(RANDOM_BYTES)).toString('base64url')}`
      await handle.writeFile(`${made}\n`)
      await handle.sync()
      return new Sensitive(made)
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) {
      throw new StartupError('The admin key file in MESH_HOME cannot be written.', error)
    }
  }
  const kept = new Sensitive((await readFile(file, 'utf8')).trim())
  if (OPERATOR_SECRET.test(kept.reveal())) return kept
  throw new StartupError(
    'The admin key file in MESH_HOME is damaged. Delete it: the next start makes a new key.',
  )
}

async function storeOperatorKey(
  { database, seams }: FirstOperatorKeyOptions,
  name: string,
  secret: Sensitive<string>,
): Promise<Operator> {
  const secretSha256 = hashSecret(secret.reveal())
  return database.query.transaction().execute(async (transaction) => {
    const stored = await transaction
      .insertInto('operator_keys')
      .values({ id: newId('opk', seams), name, secret_sha256: secretSha256 })
      .onConflict((conflict) => conflict.column('secret_sha256').doUpdateSet({ name, revoked_at: null }))
      .returning('id')
      .executeTakeFirstOrThrow()
    const operator = { id: stored.id, name }
    if (name !== FROM_SETTING) return operator
    const replaced = await transaction
      .updateTable('operator_keys')
      .set({ revoked_at: new Date(seams.now()) })
      .where('name', '=', name)
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
    return operator
  })
}
