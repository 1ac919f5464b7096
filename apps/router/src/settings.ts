import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Catalog, ProviderId } from '@mesh/catalog/catalog.ts'
import { editDistance } from '@mesh/catalog/edit-distance.ts'
import { AWS_VARIABLES, type AwsAccess, readAws, readAwsRegion } from './aws-settings.ts'
import { catalogOf } from './catalog.ts'
import { LOG_LEVELS, type LogLevel } from './log.ts'
import { type Policy, readPolicy } from './policy.ts'
import type { Credential } from './providers/credential-pools.ts'
import { Sensitive } from './sensitive.ts'
import { WORKERS_MAX } from './storage/connections.ts'
import { requireDatabaseUrl } from './storage/external-database.ts'
import { StartupError } from './storage/startup-error.ts'

/** Everything that an operator can set, read once at start. The environment is not read anywhere else. */
export interface Settings {
  readonly port: number
  readonly host: string
  readonly home: string
  readonly databaseUrl?: Sensitive<string>
  readonly postgresBin?: string
  readonly signingKeyFile?: string
  readonly adminKey?: Sensitive<string>
  /** Absent: the address that the router listens on. */
  readonly publicUrl?: string
  /** The operators' own port, with the address that it is on; without it they come to the same port as everybody. */
  readonly adminPort?: number
  readonly adminHost: string
  /** Router processes on this machine, all on one port. */
  readonly workers: number
  /** Absent: `info`, or `warn` where a person looks at the lines. */
  readonly logLevel?: LogLevel
  readonly policy: Policy
  /** The file that the policy was read from, where there is one: it is read again on SIGHUP. */
  readonly policyFile?: string
  /** Credentials by provider, one at least; a provider without any serves test keys only. */
  readonly credentials: ReadonlyMap<ProviderId, readonly Credential[]>
  readonly aws: AwsAccess
  readonly baseUrls: ReadonlyMap<ProviderId, string>
  /** The way out to live providers, where it is not direct. */
  readonly proxy?: { readonly httpsProxy: string; readonly noProxy: string }
  readonly warnings: readonly string[]
}

interface Variable {
  readonly name: string
  readonly meaning: string
  readonly default?: string
  readonly secret?: true
}

/** The variables that are not per provider. The settings page is made from this table. */
export const VARIABLES = [
  { name: 'PORT', meaning: 'The port for API and documents; 0 takes any free one.', default: '8787' },
  { name: 'HOST', meaning: 'The address to listen on.', default: '127.0.0.1' },
  {
    name: 'MESH_HOME',
    meaning: 'Data folder of the embedded default: database, signing key, first admin key.',
    default: '.mesh in the project',
  },
  {
    name: 'DATABASE_URL',
    meaning: 'A PostgreSQL of version 15 or newer in place of the embedded one. Needs MESH_SIGNING_KEY_FILE.',
    secret: true,
  },
  {
    name: 'MESH_POSTGRES_BIN',
    meaning: 'A folder with initdb and postgres 18, in place of the packaged ones.',
  },
  { name: 'MESH_SIGNING_KEY_FILE', meaning: 'Ed25519 private key (PKCS #8 PEM) that signs receipts.' },
  {
    name: 'MESH_ADMIN_KEY',
    meaning:
      'Operator key, 32 characters or more, the same on every router. Without it MESH makes one in MESH_HOME/admin-key.',
    secret: true,
  },
  {
    name: 'MESH_ADMIN_PORT',
    meaning:
      "A port for operators alone: their routes, and /metrics without a key. PORT then takes no operator's key. See docs/running.md.",
  },
  {
    name: 'MESH_ADMIN_HOST',
    meaning: 'The address that MESH_ADMIN_PORT is on. Whoever reaches it sees the metrics.',
    default: '127.0.0.1',
  },
  {
    name: 'MESH_PUBLIC_URL',
    meaning: 'The origin by which people reach MESH.',
    default: 'http://localhost:PORT',
  },
  {
    name: 'MESH_WORKERS',
    meaning: `Router processes on this machine, on one port; ${WORKERS_MAX} at most. See docs/running.md.`,
    default: '1',
  },
  { name: 'MESH_SETTINGS', meaning: "A JSON file with the operator's policy; see docs/settings.md." },
  {
    name: 'AZURE_RESOURCE_NAME',
    meaning:
      'Your Azure resource, the NAME in https://NAME.openai.azure.com. AZURE_API_KEY needs it, or MESH_AZURE_BASE_URL.',
  },
  ...AWS_VARIABLES,
  { name: 'HTTPS_PROXY', meaning: 'A proxy through which live providers are reached.' },
  { name: 'NO_PROXY', meaning: 'Hosts that are reached without the proxy.' },
  {
    name: 'MESH_LOG_LEVEL',
    meaning: `One of ${LOG_LEVELS.join(', ')}.`,
    default: 'info, and warn on a terminal',
  },
] as const satisfies readonly Variable[]

type Environment = Readonly<Record<string, string | undefined>>
type Read = (name: string) => string | undefined

/**
 * Reads the environment and the policy file.
 * @throws StartupError with one plain sentence when a value cannot be used.
 */
export function readSettings(environment: Environment, projectFolder: string): Settings {
  const warnings: string[] = []
  const read = (name: string): string | undefined => readVariable(environment, name)
  const port = readPort(read('PORT') ?? '8787', 'PORT')
  const adminPort = read('MESH_ADMIN_PORT')
  const named = read('MESH_SETTINGS')
  const policyFile = named === undefined ? undefined : resolve(projectFolder, named)
  const policy = readPolicy(policyFile)
  const catalog = catalogOf(policy)
  const home = resolve(projectFolder, read('MESH_HOME') ?? '.mesh')
  const databaseUrl = read('DATABASE_URL')
  if (databaseUrl !== undefined) requireDatabaseUrl(databaseUrl)
  const signingKeyFile = read('MESH_SIGNING_KEY_FILE')
  if (databaseUrl !== undefined && signingKeyFile === undefined) {
    throw new StartupError(
      'DATABASE_URL is set, so MESH_SIGNING_KEY_FILE must be set too: routers that share books must sign receipts with one key.',
    )
  }
  const adminKey = read('MESH_ADMIN_KEY')
  if (adminKey !== undefined && adminKey.length < 32) {
    throw new StartupError('MESH_ADMIN_KEY is too short: use 32 characters or more.')
  }
  const postgresBin = read('MESH_POSTGRES_BIN')
  const httpsProxy = readOrigin(read('HTTPS_PROXY') ?? read('https_proxy'), 'HTTPS_PROXY')
  const publicUrl = readOrigin(read('MESH_PUBLIC_URL'), 'MESH_PUBLIC_URL')
  warnings.push(...unknownVariables(environment, catalog))
  const baseUrls = readBaseUrls(read, catalog)
  const credentials = readCredentials({ read, policy, baseUrls, warnings }, catalog)
  return {
    port,
    host: read('HOST') ?? '127.0.0.1',
    ...(adminPort === undefined ? {} : { adminPort: readPort(adminPort, 'MESH_ADMIN_PORT') }),
    adminHost: read('MESH_ADMIN_HOST') ?? '127.0.0.1',
    home,
    ...(databaseUrl === undefined ? {} : { databaseUrl: new Sensitive(databaseUrl) }),
    ...(postgresBin === undefined ? {} : { postgresBin }),
    ...(signingKeyFile === undefined ? {} : { signingKeyFile: resolve(projectFolder, signingKeyFile) }),
    ...(adminKey === undefined ? {} : { adminKey: new Sensitive(adminKey) }),
    ...(publicUrl === undefined ? {} : { publicUrl }),
    workers: readWorkers(read('MESH_WORKERS')),
    ...(httpsProxy === undefined
      ? {}
      : { proxy: { httpsProxy, noProxy: read('NO_PROXY') ?? read('no_proxy') ?? '' } }),
    ...readLogLevel(read('MESH_LOG_LEVEL')),
    policy,
    ...(policyFile === undefined ? {} : { policyFile }),
    credentials,
    aws: readAws(read, credentials.has('amazon-bedrock'), warnings),
    baseUrls,
    warnings,
  }
}

/** `anthropic` → `MESH_ANTHROPIC_BASE_URL`: prefixed, for clients use `OPENAI_BASE_URL` to point at MESH itself. */
export function baseUrlVariable(provider: ProviderId): string {
  return `MESH_${provider.toUpperCase().replaceAll('-', '_')}_BASE_URL`
}

/** The folder of the embedded default's own files. */
export function homeFile(settings: Pick<Settings, 'home'>, name: string): string {
  return join(settings.home, name)
}

function readVariable(environment: Environment, name: string): string | undefined {
  const direct = environment[name]
  if (direct !== undefined && direct !== '') return direct
  const file = environment[`${name}_FILE`]
  if (file === undefined || file === '') return undefined
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    throw new StartupError(`The file named by ${name}_FILE cannot be read.`)
  }
}

function readPort(text: string, name: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new StartupError(`${name} must be a whole number from 0 to 65535.`)
}

function readWorkers(text: string | undefined): number {
  const workers = Number(text ?? '1')
  if (Number.isInteger(workers) && workers >= 1 && workers <= WORKERS_MAX) return workers
  throw new StartupError(
    `MESH_WORKERS must be a whole number from 1 to ${WORKERS_MAX}: for more, start MESH on several machines with one DATABASE_URL.`,
  )
}

function readLogLevel(text: string | undefined): { readonly logLevel?: LogLevel } {
  if (text === undefined) return {}
  const logLevel = LOG_LEVELS.find((known) => known === text)
  if (logLevel) return { logLevel }
  throw new StartupError(`MESH_LOG_LEVEL must be one of ${LOG_LEVELS.join(', ')}.`)
}

function readOrigin(text: string | undefined, name: string): string | undefined {
  if (text === undefined) return undefined
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new StartupError(`${name} must be an http or https URL.`)
  }
  return text.replace(/\/+$/, '')
}

interface CredentialReading {
  readonly read: Read
  readonly policy: Policy
  readonly baseUrls: ReadonlyMap<ProviderId, string>
  readonly warnings: string[]
}

function readCredentials(reading: CredentialReading, catalog: Catalog): Map<ProviderId, Credential[]> {
  const { read, policy, baseUrls, warnings } = reading
  const credentials = new Map<ProviderId, Credential[]>()
  for (const { id, name, baseUrl, credentialVariable } of catalog.providers) {
    const listed = policy.catalog.credentials[id]
    const named = listed ?? ownVariable(credentialVariable)
    const set = named.filter(({ variable }) => read(variable) !== undefined)
    const part = hostPartOf(baseUrl)
    const variables = named.map(({ variable }) => variable).join(' or ')
    if (set.length === 0 && part?.isForThisAlone && read(part.variable) !== undefined) {
      warnings.push(
        `${part.variable} is set without ${variables}: ${name} serves test keys only until both are.`,
      )
    }
    if (listed) {
      for (const { name: missing, variable } of listed) {
        if (read(variable) !== undefined) continue
        warnings.push(`${variable} is not set: ${name} is called without its credential ${missing}.`)
      }
    }
    const usable = set.flatMap((one) => readCredential(one, reading))
    if (usable.length === 0) continue
    if (part && !baseUrls.has(id)) {
      warnings.push(
        `${variables} is set without ${part.variable} (or ${baseUrlVariable(id)}): ${name} serves test keys only until both are.`,
      )
      continue
    }
    credentials.set(id, usable)
  }
  return credentials
}

type NamedVariable = Policy['catalog']['credentials'][string][number]

/** The vendor's own variable, where the operator lists none. */
function ownVariable(variable: string | undefined): readonly NamedVariable[] {
  return variable === undefined ? [] : [{ name: 'default', variable, weight: 1 }]
}

function readCredential(
  { name, variable, weight }: NamedVariable,
  { read, warnings }: CredentialReading,
): readonly Credential[] {
  const value = read(variable)
  if (value === undefined) return []
  if (/^mesh_(live|test)_/.test(value)) {
    warnings.push(`${variable} holds a MESH key and is ignored: it wants the provider's own.`)
    return []
  }
  if (!/^[\x21-\x7e]+$/.test(value)) {
    throw new StartupError(`${variable} holds characters that no HTTP header can carry.`)
  }
  return [{ name, secret: new Sensitive(value), weight }]
}

function readBaseUrls(read: Read, catalog: Catalog): Map<ProviderId, string> {
  const baseUrls = new Map<ProviderId, string>()
  for (const { id, baseUrl } of catalog.providers) {
    const name = baseUrlVariable(id)
    const value = readOrigin(read(name), name) ?? completeBaseUrl(read, baseUrl)
    if (value !== undefined) baseUrls.set(id, value)
  }
  return baseUrls
}

/** What stands in braces in some providers' base URLs, because every customer has a host of his own there. */
const HOST_PARTS = [
  {
    inBraces: '{resource}',
    variable: 'AZURE_RESOURCE_NAME',
    example: 'contoso-east',
    read: (read: Read) => read('AZURE_RESOURCE_NAME'),
    isForThisAlone: true,
  },
  {
    inBraces: '{region}',
    variable: 'AWS_REGION',
    example: 'us-east-1',
    read: readAwsRegion,
    // Many machines set it for other tools.
    isForThisAlone: false,
  },
] as const

function hostPartOf(baseUrl: string): (typeof HOST_PARTS)[number] | undefined {
  return HOST_PARTS.find(({ inBraces }) => baseUrl.includes(inBraces))
}

/** A base URL with the operator's own part in it, or `undefined` where it has none or the operator named none. */
function completeBaseUrl(read: Read, baseUrl: string): string | undefined {
  const part = hostPartOf(baseUrl)
  const value = part?.read(read)
  if (!part || value === undefined) return undefined
  if (!/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i.test(value)) {
    throw new StartupError(`${part.variable} must be a name alone, as in ${part.example}, and no URL.`)
  }
  return baseUrl.replace(part.inBraces, value)
}

function unknownVariables(environment: Environment, catalog: Catalog): string[] {
  const known = [
    ...VARIABLES.map(({ name }) => name as string),
    ...catalog.providers.map(({ id }) => baseUrlVariable(id)),
  ].flatMap((name) => [name, `${name}_FILE`])
  return Object.keys(environment)
    .filter((name) => name.startsWith('MESH_') && !name.startsWith('MESH_TEST_') && !known.includes(name))
    .map((name) => `${printable(name)} is not a setting of MESH; did you mean ${nearest(name, known)}?`)
}

function printable(name: string): string {
  return name.replace(/[^A-Z0-9_]/gi, '?').slice(0, 64)
}

function nearest(name: string, known: readonly string[]): string {
  const distances = known.map((candidate) => ({
    candidate,
    distance: editDistance(name.slice(0, 64), candidate),
  }))
  return distances.reduce((best, next) => (next.distance < best.distance ? next : best)).candidate
}
