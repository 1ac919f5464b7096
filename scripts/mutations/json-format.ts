import type { Mutation } from './mutation.ts'

const TEST = 'apps/router/test/json-format.test.ts'

/** JSON that is asked for in words, and what its repair costs. */
export const JSON_FORMAT_MUTATIONS: readonly Mutation[] = [
  {
    breaks: 'Both answers of a repair are charged',
    file: 'packages/engine/src/trial.ts',
    from: '    usage: usageTogether(first.usage, second.usage),\n',
    to: '',
    test: TEST,
    named: 'both answers are charged',
  },
  {
    breaks: 'A repair is begun only where what is held carries it',
    file: 'packages/engine/src/emulated-json.ts',
    from: 'if (crossesTier || outputTokensLeft < OUTPUT_TOKENS_MIN) return undefined',
    to: 'if (crossesTier) return undefined',
    test: TEST,
    named: 'without room',
  },
  {
    breaks: 'What stays wrong is said to be wrong',
    file: 'packages/engine/src/json-answer.ts',
    from: "again.isValid ? 'repaired' : 'invalid'",
    to: "'repaired'",
    test: TEST,
    named: 'what stays wrong',
  },
  {
    breaks: 'An answer by a schema leaves when it was looked at',
    file: 'packages/engine/src/answer.ts',
    from: "return keepsBack === 'json_object' && this",
    to: 'return this',
    test: TEST,
    named: 'does not fit its schema',
  },
]
