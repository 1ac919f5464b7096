import type { Mutation } from './mutation.ts'

const SINKS_TEST = 'apps/router/test/no-retention.test.ts'

/** What is never kept, logged or shown. */
export const CONTENT_MUTATIONS: readonly Mutation[] = [
  {
    breaks: 'What a caller calls his user leaves and is kept as an HMAC alone',
    file: 'apps/router/src/call/pseudonyms.ts',
    from: `    hmac(accountId, \`outward \${purpose}\`, text).toString('base64url').slice(0, 32)\n`,
    to: '    text\n',
    test: SINKS_TEST,
  },
  {
    breaks: 'Idempotency keys are kept as HMACs alone',
    file: 'apps/router/src/call/pseudonyms.ts',
    from: 'remembered: (accountId, purpose, text) => hmac(',
    to: 'remembered: (_accountId, _purpose, text) => Buffer.from(text) ?? hmac(',
    test: 'apps/router/test/idempotency.test.ts',
    named: 'kept as HMACs alone',
  },
  {
    breaks: 'An error is logged without its message',
    file: 'apps/router/src/log.ts',
    from: '    errorName: error.name,\n',
    to: '    errorName: error.message,\n',
    test: 'apps/router/src/log.test.ts',
  },
  {
    breaks: 'A message that looks like frames is not told with them',
    file: 'apps/router/src/log.ts',
    from: '    .slice(start + message.length)\n',
    to: '',
    test: 'apps/router/src/log.test.ts',
  },
  {
    breaks: 'A router that ends by an error says nothing of its message',
    file: 'apps/router/src/crash.ts',
    from: "  process.on('uncaughtException', (error) => {\n",
    to: "  process.on('uncaughtException', (error) => {\n    process.stderr.write(String(error))\n",
    test: 'apps/router/test/crash.test.ts',
    named: 'an exception',
  },
  {
    breaks: 'What is not JSON is refused without quoting it',
    file: 'apps/router/src/http/raw-body.ts',
    from: `  } catch {
    // V8's message quotes the body, so it goes no further.
    throw new MeshError('invalid_request', 'The body is not valid JSON.')`,
    to: `  } catch (error) {
    throw new MeshError('invalid_request', String(error))`,
    test: 'apps/router/test/hostile-input.test.ts',
  },
  {
    breaks: 'Secrets are printed as [redacted]',
    file: 'apps/router/src/sensitive.ts',
    from: `  toString(): string {
    return '[redacted]'`,
    to: `  toString(): string {
    return String(this.#value)`,
    test: 'apps/router/src/sensitive.test.ts',
  },
  {
    breaks: 'A chunk that says more than its text is read, also where it looks like the one before',
    file: 'packages/engine/src/repeated-message.ts',
    from: '    if (!PLAIN.test(text)) return undefined\n',
    to: '',
    test: 'packages/engine/src/repeated-message.test.ts',
  },
]
