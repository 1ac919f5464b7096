import type { LimitVocabulary } from '../../accounts/limit-schema.ts'
import type { Revocations } from '../../accounts/revocations.ts'
import type { Pseudonyms } from '../../call/pseudonyms.ts'
import type { Seams } from '../../ids.ts'
import type { Database } from '../../storage/database.ts'
import type { Access } from '../authentication.ts'
import type { Server } from '../server.ts'
import { registerAccountRoutes, registerOwnAccountRoutes } from './accounts.ts'
import { registerCurrentKeyRoutes, registerKeyRoutes } from './api-keys.ts'
import { registerAuditRoutes } from './audit.ts'
import { registerProjectRoutes } from './projects.ts'

export interface ManagementOptions {
  readonly store: {
    readonly database: Database
    readonly seams: Seams
    readonly revocations?: Revocations
  }
  readonly access: Access
  /** What limits may name. */
  readonly vocabulary: LimitVocabulary
  readonly pseudonyms: Pseudonyms
}

/** Accounts, projects, keys and the record of their changes. */
export function registerManagementRoutes(server: Server, options: ManagementOptions): void {
  registerOwnAccountRoutes(server, options)
  registerAccountRoutes(server, options)
  registerProjectRoutes(server, options)
  registerCurrentKeyRoutes(server, options)
  registerKeyRoutes(server, options)
  registerAuditRoutes(server, options)
}
