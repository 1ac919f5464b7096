import assert from 'node:assert/strict'
import { ADMIN_KEY, type TestAccount, type TestRouter } from './test-router.ts'

/** Where limits can be set, from the widest to the narrowest. */
export const SCOPES = ['account', 'project', 'key'] as const
export type Scope = (typeof SCOPES)[number]

const PATHS: Readonly<Record<Scope, (account: TestAccount) => string>> = {
  account: ({ id }) => `/v1/accounts/${id}/limits`,
  project: ({ projectId }) => `/v1/projects/${projectId}`,
  key: ({ keyId }) => `/v1/api-keys/${keyId}/limits`,
}

/** Changes limits as an operator does; null takes one away. */
export async function setLimits(
  mesh: Pick<TestRouter, 'request'>,
  scope: Scope,
  account: TestAccount,
  limits: Readonly<Record<string, unknown>>,
): Promise<void> {
  const body = scope === 'project' ? { limits } : limits
  const answer = await mesh.request('PATCH', PATHS[scope](account), { key: ADMIN_KEY, body })
  assert.equal(answer.status, 200, answer.text)
}
