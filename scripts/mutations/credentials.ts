import type { Mutation } from './mutation.ts'

const TEST = 'apps/router/test/credentials.test.ts'
const POOLS = 'apps/router/src/providers/credential-pools.ts'

/** Several credentials of one provider. */
export const CREDENTIAL_MUTATIONS: readonly Mutation[] = [
  {
    breaks: 'A credential that was turned away is set aside',
    file: POOLS,
    from: '    known.set(status === UNAUTHORIZED ? EVERYWHERE : id, this.#clock.monotonic() + asideMs)\n',
    to: '',
    test: TEST,
    named: 'gets 401',
  },
  {
    breaks: 'A call goes on with another credential',
    file: 'packages/engine/src/run.ts',
    from: '  if (last.hasAnotherCredential && trials.length < ATTEMPTS_MAX) return candidate\n',
    to: '',
    test: TEST,
    named: 'gets 429',
  },
  {
    breaks: 'What one credential met is not held against its endpoint',
    file: 'packages/engine/src/run.ts',
    from: 'passage.leave(trial && !trial.hasAnotherCredential ? reportOf(trial) : undefined)',
    to: 'passage.leave(trial && reportOf(trial))',
    test: TEST,
    named: 'gets 429',
  },
  {
    breaks: 'A credential is logged by its name',
    file: POOLS,
    from: 'credential: name, reason',
    to: 'credential: secret.reveal(), reason',
    test: TEST,
    named: 'gets 401',
  },
  {
    breaks: 'Operators see names of credentials alone',
    file: POOLS,
    from: '        ...{ name, weight },\n',
    to: '        ...{ name: secret.reveal(), weight },\n',
    test: TEST,
    named: 'gets 403',
  },
]
