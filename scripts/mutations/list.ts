import { BOOKS_MUTATIONS } from './books.ts'
import { CALL_MUTATIONS } from './calls.ts'
import { CLIENT_MUTATIONS } from './clients.ts'
import { CONTENT_MUTATIONS } from './content.ts'
import { CREDENTIAL_MUTATIONS } from './credentials.ts'
import { DATABASE_FAULT_MUTATIONS } from './database-faults.ts'
import { UPSTREAM_MUTATIONS } from './hostile-upstreams.ts'
import { JSON_FORMAT_MUTATIONS } from './json-format.ts'
import { METRICS_MUTATIONS } from './metrics.ts'
import type { Mutation } from './mutation.ts'
import { PROMPT_CACHE_MUTATIONS } from './prompt-caches.ts'
import { RESTORE_MUTATIONS } from './restore.ts'
import { SDK_MUTATIONS } from './sdk.ts'
import { TENANT_MUTATIONS } from './tenants.ts'
import { STRANGER_MUTATIONS } from './tenants-and-hostile-input.ts'
import { WORKER_MUTATIONS } from './workers.ts'

/** Every rule that is broken on purpose. */
export const MUTATIONS: readonly Mutation[] = [
  ...BOOKS_MUTATIONS,
  ...CALL_MUTATIONS,
  ...TENANT_MUTATIONS,
  ...CONTENT_MUTATIONS,
  ...CLIENT_MUTATIONS,
  ...CREDENTIAL_MUTATIONS,
  ...DATABASE_FAULT_MUTATIONS,
  ...UPSTREAM_MUTATIONS,
  ...JSON_FORMAT_MUTATIONS,
  ...METRICS_MUTATIONS,
  ...PROMPT_CACHE_MUTATIONS,
  ...RESTORE_MUTATIONS,
  ...STRANGER_MUTATIONS,
  ...WORKER_MUTATIONS,
  ...SDK_MUTATIONS,
]
