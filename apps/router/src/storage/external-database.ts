import pg from 'pg'
import { StartupError } from './startup-error.ts'

/**
 * Checks the form of `DATABASE_URL`; nothing is connected to.
 * @throws StartupError for what `pg` cannot read, without a word of it: a part that is wrong may be the password.
 */
export function requireDatabaseUrl(url: string): void {
  if (/^postgres(ql)?:\/\//.test(url) && isReadable(url)) return
  throw new StartupError(
    'DATABASE_URL must have the form postgresql://user:password@host:5432/database, with special characters of user and password percent-encoded.',
  )
}

function isReadable(url: string): boolean {
  try {
    new pg.Client({ connectionString: url })
    return true
  } catch {
    return false
  }
}

const NO_TABLES = 'The user in DATABASE_URL may not make tables there: let it own its database.'

/** What to say for the codes of Node and PostgreSQL (https://www.postgresql.org/docs/18/errcodes-appendix.html). */
const BY_CODE: Readonly<Record<string, string>> = {
  ENOTFOUND: 'The host in DATABASE_URL is not found: check its name.',
  EAI_AGAIN: 'The host in DATABASE_URL is not found, or no name server answers: check its name.',
  '28P01': 'PostgreSQL refuses the user or the password in DATABASE_URL.',
  '28000': 'PostgreSQL refuses the user in DATABASE_URL, or this way of connecting: see its pg_hba.conf.',
  '3D000': 'The database that DATABASE_URL names does not exist: make it, or name another.',
  '42501': NO_TABLES,
  '3F000': NO_TABLES,
  '25006': 'The database that DATABASE_URL names is read-only: name the primary.',
  '53300': 'PostgreSQL at DATABASE_URL has no connection left: allow more of them, or stop what uses them.',
}

const NOBODY_THERE =
  'Nothing takes connections at the host and port in DATABASE_URL: check them, and that PostgreSQL runs there.'
const NOT_POSTGRESQL =
  'What listens at the host and port in DATABASE_URL does not answer as PostgreSQL does: check them.'
const NO_TLS =
  'The TLS connection that DATABASE_URL asks for cannot be made: check sslmode, and the certificate of the server.'
const NO_PASSWORD = 'PostgreSQL wants a password, and DATABASE_URL has none that it can use.'

/** Where there is no telling code. */
const BY_SIGN: readonly (readonly [sign: RegExp, sentence: string])[] = [
  [/^(ECONNREFUSED|ECONNRESET|ENOENT|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EACCES|EPIPE) /, NOBODY_THERE],
  [/^\S*(CERT|TLS|SSL)\S* |SSL connection/, NO_TLS],
  [/ SASL: .*password/, NO_PASSWORD],
  [/ (Connection terminated|timeout exceeded when trying to connect)/, NOT_POSTGRESQL],
]

/**
 * Why an external database cannot be used, as a sentence that quotes nothing of its URL. What is no fault of the
 * database comes back as it is.
 */
export function externalDatabaseError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof StartupError) return error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const sentence = BY_CODE[code] ?? BY_SIGN.find(([sign]) => sign.test(`${code} ${error.message}`))?.[1]
  if (sentence !== undefined) return new StartupError(sentence, error)
  if (!/^[0-9A-Z]{5}$/.test(code)) return error
  return new StartupError(
    `PostgreSQL at DATABASE_URL refuses what MESH needs of it (its code ${code}).`,
    error,
  )
}
