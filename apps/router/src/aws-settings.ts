import { Sensitive } from './sensitive.ts'
import { StartupError } from './storage/startup-error.ts'

/** An access key of AWS, with the token of a session where it is a temporary one. */
export interface AwsKeys {
  readonly accessKeyId: Sensitive<string>
  readonly secretAccessKey: Sensitive<string>
  readonly sessionToken?: Sensitive<string>
}

/** Where Bedrock is reached, and with which keys where it has no bearer token. */
export interface AwsAccess {
  readonly region?: string
  readonly keys?: AwsKeys
}

/** AWS's own variables beside the bearer token, which is Bedrock's credential in the table of providers. */
export const AWS_VARIABLES = [
  {
    name: 'AWS_REGION',
    meaning:
      "The region of Amazon Bedrock, as in us-east-1; AWS_DEFAULT_REGION does as well. Every one of AWS's credentials needs it.",
  },
  {
    name: 'AWS_ACCESS_KEY_ID',
    meaning:
      'With AWS_SECRET_ACCESS_KEY: signs requests to Bedrock, where AWS_BEARER_TOKEN_BEDROCK is not set.',
    secret: true,
  },
  { name: 'AWS_SECRET_ACCESS_KEY', meaning: "The access key's secret half.", secret: true },
  { name: 'AWS_SESSION_TOKEN', meaning: "Where the access key is a session's.", secret: true },
] as const

type Read = (name: string) => string | undefined

/** Many machines set a region for other tools, under either name. */
export function readAwsRegion(read: Read): string | undefined {
  return read('AWS_REGION') ?? read('AWS_DEFAULT_REGION')
}

/**
 * Reads what AWS's own tools read. Half of a credential leaves Bedrock to test keys, and is said in `warnings`.
 * @throws StartupError where a key holds what no HTTP header can carry.
 */
export function readAws(read: Read, hasBearerToken: boolean, warnings: string[]): AwsAccess {
  const region = readAwsRegion(read)
  const access: AwsAccess = region === undefined ? {} : { region }
  const accessKeyId = readKey(read, 'AWS_ACCESS_KEY_ID')
  const secretAccessKey = readKey(read, 'AWS_SECRET_ACCESS_KEY')
  const sessionToken = readKey(read, 'AWS_SESSION_TOKEN')
  // As in AWS's own clients, the bearer token comes first; keys beside it are for something else.
  if (hasBearerToken) return access
  const warn = (given: string, missing: string) =>
    warnings.push(`${given} is set without ${missing}: Amazon Bedrock serves test keys only until both are.`)
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    if (accessKeyId !== undefined) warn('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY')
    else if (secretAccessKey !== undefined) warn('AWS_SECRET_ACCESS_KEY', 'AWS_ACCESS_KEY_ID')
    else if (sessionToken !== undefined) warn('AWS_SESSION_TOKEN', 'AWS_ACCESS_KEY_ID')
    return access
  }
  if (region === undefined) {
    warn('AWS_ACCESS_KEY_ID', 'AWS_REGION')
    return access
  }
  const keys: AwsKeys = {
    accessKeyId: new Sensitive(accessKeyId),
    secretAccessKey: new Sensitive(secretAccessKey),
    ...(sessionToken === undefined ? {} : { sessionToken: new Sensitive(sessionToken) }),
  }
  return { ...access, keys }
}

function readKey(read: Read, name: string): string | undefined {
  const value = read(name)
  if (value === undefined || /^[\x21-\x7e]+$/.test(value)) return value
  throw new StartupError(`${name} holds characters that no HTTP header can carry.`)
}

/** The geography that ids of cross-region inference profiles begin with, by the regions that may call them. */
const GEOGRAPHIES: readonly (readonly [regions: RegExp, prefix: string])[] = [
  [/^us-gov-/, 'us-gov.'],
  [/^us-/, 'us.'],
  [/^eu-/, 'eu.'],
  [/^ap-/, 'apac.'],
]
const GEOGRAPHIC = /^(?:us-gov|us|eu|apac)\./

/**
 * A model's id as a region knows it: a cross-region profile (`us.meta.…`) is called by the name of the caller's own
 * geography. Global profiles, and models without one, are named alike everywhere.
 * https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
 */
export function modelInRegion(upstreamModel: string, region: string): string {
  const prefix = GEOGRAPHIES.find(([regions]) => regions.test(region))?.[1]
  return prefix === undefined ? upstreamModel : upstreamModel.replace(GEOGRAPHIC, prefix)
}
