import type { Mutation } from './mutation.ts'

const KEYS_TEST = 'apps/router/test/keys.test.ts'

/** Who may do and see what. */
export const TENANT_MUTATIONS: readonly Mutation[] = [
  {
    breaks: 'A revoked lineage ends the calls of keys that a rotation stopped before',
    file: 'apps/router/src/accounts/key-revocation.ts',
    from: '[...revoked, ...replaced].map',
    to: 'revoked.map',
    test: 'apps/router/test/revocation.test.ts',
    named: 'within the grace of a rotation',
  },
  {
    breaks: 'A key reads the keys of its own account alone',
    file: 'apps/router/src/accounts/key-records.ts',
    from: `(principal.kind === 'operator' || row.account_id === principal.caller.account.id) &&`,
    to: '',
    test: 'apps/router/test/tenants.test.ts',
  },
  {
    breaks: 'A test key sees no live key',
    file: 'apps/router/src/accounts/key-records.ts',
    from: `  if (!isLive(principal)) rows = rows.where('api_keys.livemode', '=', false)\n`,
    to: '',
    test: KEYS_TEST,
    named: 'test keys see their own world alone',
  },
  {
    breaks: 'A test key makes no live key',
    file: 'apps/router/src/accounts/authority.ts',
    from: '  if (!livemode || isLive(principal)) return\n',
    to: '  return\n',
    test: KEYS_TEST,
  },
  {
    breaks: 'A made key makes no keys',
    file: 'apps/router/src/accounts/keys.ts',
    from: '    requireMaker(change.principal)\n',
    to: '',
    test: KEYS_TEST,
  },
  {
    breaks: 'A key grants no scope beyond its own',
    file: 'apps/router/src/accounts/authority.ts',
    from: '  if (missing === undefined) return\n',
    to: '  return\n',
    test: KEYS_TEST,
  },
  {
    breaks: 'A key grants no limit beyond its own',
    file: 'apps/router/src/accounts/keys.ts',
    from: `  requireLimitsWithin(asked, bound, 'limits.')\n`,
    to: '',
    test: KEYS_TEST,
    named: 'a key grants nothing beyond itself',
  },
  {
    breaks: 'A rotation hands out no more than the asking key has',
    file: 'apps/router/src/accounts/key-rotation.ts',
    from: '    requireSecretWithin(change.principal, row, limits)\n',
    to: '',
    test: KEYS_TEST,
  },
  {
    breaks: 'A key has one successor',
    file: 'apps/router/src/accounts/key-rotation.ts',
    from: '    if (row.successor_id !== null) throw alreadyRotated(row.successor_id)\n',
    to: '',
    test: KEYS_TEST,
  },
  {
    breaks: 'A revoked key stops the keys that it made',
    file: 'apps/router/src/accounts/key-revocation.ts',
    from: `where.or([where('lineage_id', 'in', lineages), where('parent_lineage_id', 'in', lineages)])`,
    to: `where('lineage_id', 'in', lineages)`,
    test: KEYS_TEST,
  },
  {
    breaks: 'A revoked key ends its running calls',
    file: 'apps/router/src/accounts/key-revocation.ts',
    from: `  change.stopCalls(
    [...revoked, ...replaced].map(({ id }) => id),
    'key_revoked',
  )
`,
    to: '',
    test: 'apps/router/test/revocation.test.ts',
  },
  {
    breaks: 'A suspended account is refused',
    file: 'apps/router/src/accounts/authenticate.ts',
    from: `  if (status !== 'active') {`,
    to: `  if (status === 'closed') {`,
    test: 'apps/router/test/revocation.test.ts',
    named: 'a suspended account',
  },
  {
    breaks: 'An operator key is of no account',
    file: 'apps/router/src/http/authentication.ts',
    from: `if (scope !== undefined) requireScope(principal.caller, scope)
      return principal.caller
    },
    async requireOperator`,
    to: `return principal.caller
    },
    async requireOperator`,
    test: 'apps/router/test/tenants.test.ts',
  },
  {
    breaks: 'Operator routes are for operators',
    file: 'apps/router/src/http/authentication.ts',
    from: `      if (principal.kind === 'operator') return principal.operator
      throw new MeshError('insufficient_scope', 'This route`,
    to: `      if (principal.kind === 'operator') return principal.operator
      if (principal.caller.account) return { id: 'opk_none', name: '' } as never
      throw new MeshError('insufficient_scope', 'This route`,
    test: 'apps/router/test/tenants.test.ts',
  },
]
