import type { Mutation } from './mutation.ts'

const CLIENT = 'packages/sdk/src/mesh-client.ts'
const CLIENT_TEST = 'packages/sdk/test/client.test.ts'
const COMMAND_TEST = 'packages/sdk/test/command.test.ts'
const VERIFY = 'packages/sdk/src/verify-receipt.ts'
const VERIFY_TEST = 'packages/sdk/src/verify-receipt.test.ts'

/** What the SDK sends, what it never sends, and what it believes. */
export const SDK_MUTATIONS: readonly Mutation[] = [
  {
    breaks: "A header may carry another vendor's key",
    file: CLIENT,
    from: '    requireKeysOfMesh(headers, this.#operatorKey)\n',
    to: '',
    test: CLIENT_TEST,
    named: 'never sends a key',
  },
  {
    breaks: 'A key of MESH goes to OpenAI where the base URL is empty',
    file: CLIENT,
    from: "options.baseURL?.trim() || environmentVariable('MESH_BASE_URL') || DEFAULT_BASE_URL",
    to: "options.baseURL ?? environmentVariable('MESH_BASE_URL') ?? DEFAULT_BASE_URL",
    test: CLIENT_TEST,
    named: 'never sends a key of MESH',
  },
  {
    breaks: 'A key of MESH goes wherever a URL leads',
    file: CLIENT,
    from: '    requireThisMesh(url, this.baseURL)\n',
    to: '',
    test: CLIENT_TEST,
    named: 'never sends a key of MESH',
  },
  {
    breaks: "OpenAI's own admin key and organization are read from the environment",
    file: CLIENT,
    from: '      adminAPIKey: null,\n      organization: null,\n',
    to: '',
    test: CLIENT_TEST,
    named: 'never sends a key',
  },
  {
    breaks: 'Any OPENAI_API_KEY is taken for a key of MESH',
    file: 'packages/sdk/src/mesh-key.ts',
    from: 'if (shared !== undefined && MESH_KEY_BEGINNING.test(shared)) return requireMeshKey(',
    to: "if (shared !== undefined) return shared; if (shared === '') return requireMeshKey(",
    test: CLIENT_TEST,
    named: 'never sends a key',
  },
  {
    breaks: 'A call that must be sealed goes in the clear',
    file: CLIENT,
    from: "  if (privacy?.mode !== 'mesh') return\n",
    to: "  if (privacy?.mode !== 'sealed') return\n",
    test: CLIENT_TEST,
    named: 'before anything is sent',
  },
  {
    breaks: 'A retry has an Idempotency-Key of its own, and is charged again',
    file: CLIENT,
    from: '      options.idempotencyKey ??= newIdempotencyKey()\n',
    to: '      options.idempotencyKey = newIdempotencyKey()\n',
    test: CLIENT_TEST,
    named: 'keeps that key',
  },
  {
    breaks: 'A key whose secret was lost on the way is made once more',
    file: 'packages/sdk/src/resources/keys.ts',
    from: 'const NEVER_AGAIN = { maxRetries: 0 } as const\n',
    to: 'const NEVER_AGAIN = {} as const\n',
    test: CLIENT_TEST,
    named: 'keeps that key',
  },
  {
    breaks: 'What a receipt shows is not held against what was signed',
    file: VERIFY,
    from: "  if (typeof receipt !== 'string') requireSameAsSigned(receipt, claims)\n",
    to: '',
    test: VERIFY_TEST,
  },
  {
    breaks: 'The signature of a receipt is not looked at',
    file: VERIFY,
    from: "    (await crypto.subtle.verify('Ed25519', publicKey, signature, signed))\n",
    to: '    publicKey !== undefined && signed.length > 0\n',
    test: VERIFY_TEST,
  },
  {
    breaks: 'The spare bits of a signature may be anything',
    file: VERIFY,
    from: '    return base64url(bytes) === text ? bytes : undefined\n',
    to: '    return bytes\n',
    test: VERIFY_TEST,
  },
  {
    breaks: "A key may stand under another key's name",
    file: VERIFY,
    from: '  if (base64url(thumbprint) !== kid) {\n',
    to: '  if (thumbprint.length === 0) {\n',
    test: VERIFY_TEST,
  },
  {
    breaks: 'A receipt may say more than was signed',
    file: VERIFY,
    from: '    names.length === Object.keys(other).length &&\n',
    to: '',
    test: VERIFY_TEST,
  },
  {
    breaks: 'A key on the command line is used, and lies in the history of the shell',
    file: 'packages/sdk/src/command/run.ts',
    from: '    requireNoKeys(words, environment)\n',
    to: '',
    test: COMMAND_TEST,
    named: 'a key is taken',
  },
  {
    breaks: 'A key file that others may read is used',
    file: 'packages/sdk/src/command/credentials.ts',
    from: 'const OTHERS_MODE = 0o077\n',
    to: 'const OTHERS_MODE = 0\n',
    test: COMMAND_TEST,
    named: 'a key is made',
  },
  {
    breaks: 'The secret of a new key is printed although it is kept in a file',
    file: 'packages/sdk/src/command/commands/keys.ts',
    from: '    async ({ secret, ...shown }) => {\n',
    to: '    async (shown) => {\n      const { secret } = shown\n      terminal.note(secret)\n',
    test: COMMAND_TEST,
    named: 'a key is made',
  },
]
