import type OpenAI from 'openai'
import type { AccountId, AuditEventId } from '../ids.ts'
import { type ListParams, listOf, type MeshList } from '../page.ts'

/** One change of the account: who made it, and what was before and after. */
export interface AuditEvent {
  readonly id: AuditEventId
  readonly accountId: AccountId | null
  /** Null for what is of both worlds. */
  readonly livemode: boolean | null
  /** The id of the key or operator that made it. */
  readonly actor: string
  readonly action: string
  readonly target: string
  readonly before: unknown
  readonly after: unknown
  readonly createdAt: string
}

/** `mesh.audit`: every change of keys, limits and projects, for keys with the scope `keys`. */
export class Audit {
  readonly #client: OpenAI

  constructor(client: OpenAI) {
    this.#client = client
  }

  list(query: ListParams = {}, options?: OpenAI.RequestOptions): MeshList<AuditEvent> {
    return listOf(this.#client, '/audit', { ...query }, options)
  }
}
