import { BOOKS_MUTATIONS } from './books.ts'
import { CALL_MUTATIONS } from './calls.ts'
import { CONTENT_MUTATIONS } from './content.ts'
import type { Mutation } from './mutation.ts'
import { TENANT_MUTATIONS } from './tenants.ts'

/** Every rule that is broken on purpose. */
export const MUTATIONS: readonly Mutation[] = [
  ...BOOKS_MUTATIONS,
  ...CALL_MUTATIONS,
  ...TENANT_MUTATIONS,
  ...CONTENT_MUTATIONS,
]
