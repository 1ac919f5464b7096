import { newId } from '../../src/ids.ts'
import { systemSeams } from '../../src/seams.ts'
import { ACCESS_TABLE, type AccessRow, type IdKind } from './access-table.ts'
import type { Credential, Holder } from './credentials.ts'
import { MODEL, type Tenant, type Tenants } from './tenants.ts'

/** What an id can be to whoever names it. */
const ID_CASES = ['own', 'other world', 'foreign', 'non-existent', 'malformed', 'of another kind'] as const
export type IdCase = (typeof ID_CASES)[number]

/** One request of the matrix, and what it must be answered. */
export interface Cell {
  readonly row: AccessRow
  readonly credential: Credential
  readonly idCase?: IdCase
}

export interface Expected {
  readonly status: number
  readonly code?: string
}

/** Every route by every one of some credentials, and by every id that means something to it. */
export function cellsOf(credentials: readonly Credential[]): Cell[] {
  return ACCESS_TABLE.flatMap((row) =>
    credentials.flatMap((credential): Cell[] => {
      if (row.id === undefined) return [{ row, credential }]
      return ID_CASES.filter((idCase) => isMeant(row, credential, idCase)).map((idCase) => ({
        row,
        credential,
        idCase,
      }))
    }),
  )
}

/**
 * Accounts, projects and models are of both worlds; to an operator no account is foreign. Who is refused by his
 * credential has not come to any id yet, so three kinds say it for all.
 */
export function isMeant({ id }: AccessRow, { holder, refusal }: Credential, idCase: IdCase): boolean {
  if (refusal && idCase !== 'own' && idCase !== 'foreign' && idCase !== 'malformed') return false
  if (idCase === 'other world') return id === 'key' || id === 'event' || id === 'receipt'
  if (id === 'model' || id === 'page') return idCase === 'own' || idCase === 'non-existent'
  return idCase !== 'foreign' || holder?.kind !== 'operator'
}

/** Whose a credential is to a route. */
export function holderOf({ row, credential }: Pick<Cell, 'row' | 'credential'>): Holder | undefined {
  return (row.takesApiKeyHeader ? credential.inApiKeyHeader : undefined) ?? credential.holder
}

/** What a cell must be answered. */
export function expectedOf({ row, credential, idCase }: Cell): Expected {
  const refused = ([status, code]: readonly [number, string]): Expected => ({ status, code })
  if (credential.isMalformed && credential.refusal) return refused(credential.refusal)
  if (row.serves === 'all') {
    if (idCase !== 'non-existent') return { status: row.status }
    return { status: 404, code: row.id === 'model' ? 'model_not_found' : 'not_found' }
  }
  const holder = holderOf({ row, credential })
  if (credential.refusal && holder === credential.holder) return refused(credential.refusal)
  if (!holder || !isServed(row, holder)) return { status: 403, code: 'insufficient_scope' }
  if (idCase !== undefined && !isThere(row, holder, idCase)) return { status: 404, code: 'not_found' }
  if (row.made && holder.kind === 'key' && holder.isMade) return refused(row.made)
  return { status: row.status }
}

function isServed({ serves }: AccessRow, holder: Holder): boolean {
  if (holder.kind === 'operator') return serves === 'operators' || serves === 'keys or operators'
  if (serves === 'any key') return true
  return serves !== 'operators' && holder.scopes.includes(serves === 'keys or operators' ? 'keys' : serves)
}

/** Whether what a path names exists for whoever asks. Live keys see test keys, and no rows but live ones. */
function isThere({ id }: AccessRow, holder: Holder, idCase: IdCase): boolean {
  if (idCase !== 'own' && idCase !== 'other world') return false
  if (holder.kind === 'operator') return true
  if (!holder.isHome) return false
  return idCase === 'own' || (id === 'key' && holder.livemode)
}

/** Whose ids the matrix names. */
export interface Stage {
  readonly tenants: Tenants
  readonly home: Tenant
  readonly foreign: Tenant
}

/** The path of a cell with the id that it names. Where it will be changed it is made anew. */
export async function pathFor(cell: Cell, stage: Stage): Promise<string> {
  const id = cell.idCase === undefined ? '' : await idFor(cell, stage)
  return `${cell.row.path.replace(':id', id).replace('*', id).replace(':provider', 'groq')}${cell.credential.query ?? ''}`
}

async function idFor(cell: Cell, { tenants, home, foreign }: Stage): Promise<string> {
  const { row, credential, idCase } = cell
  const { holder } = credential
  const isLive = holder?.kind !== 'key' || holder.livemode
  const kind = row.id ?? 'account'
  switch (idCase) {
    case 'own':
    case 'other world': {
      const inLive = (idCase === 'own') === isLive
      const isChanged = row.changes && expectedOf(cell).status < 300
      return isChanged
        ? freshId(kind, { tenants, home, livemode: inLive, holder })
        : standingId(kind, home, inLive)
    }
    case 'foreign':
      return standingId(kind, foreign, isLive)
    case 'of another kind':
      return standingId(kind === 'project' ? 'key' : 'project', home, isLive)
    case 'malformed':
      return `${standingId(kind, home, isLive)}'--`
    default:
      return nonExistentId(kind)
  }
}

function standingId(kind: IdKind, tenant: Tenant, livemode: boolean): string {
  const world = livemode ? tenant.live : tenant.test
  switch (kind) {
    case 'account':
      return tenant.accountId
    case 'project':
      return tenant.otherProjectId
    case 'key':
      return world.key.id
    case 'event':
      return world.eventId
    case 'receipt':
      return world.receiptId
    case 'model':
      return MODEL
    case 'page':
      return 'quickstart.md'
  }
}

const PREFIXES = { account: 'acct', project: 'proj', key: 'key', event: 'req', receipt: 'rcpt' } as const

function nonExistentId(kind: IdKind): string {
  if (kind === 'model') return 'mesh/no-such-model'
  return kind === 'page' ? 'no-such-page.md' : newId(PREFIXES[kind], systemSeams)
}

async function freshId(
  kind: IdKind,
  wanted: {
    readonly tenants: Tenants
    readonly home: Tenant
    readonly livemode: boolean
    readonly holder: Holder | undefined
  },
): Promise<string> {
  const { tenants, livemode, holder } = wanted
  const { accountId } = wanted.home
  if (kind === 'account') return (await tenants.ask('POST', '/v1/accounts', { name: 'Fresh' })).id
  if (kind === 'project') return (await tenants.ask('POST', '/v1/projects', { name: 'Fresh', accountId })).id
  const scopes = holder?.kind === 'key' ? holder.scopes : ['chat']
  return (await tenants.makeKey({ accountId, livemode, scopes })).id
}
