import type { Mutation } from './mutation.ts'

const TEST = 'apps/router/test/prompt-caches.test.ts'

/** What of a provider's prompt cache one customer may learn of another. */
export const PROMPT_CACHE_MUTATIONS: readonly Mutation[] = [
  {
    breaks: 'Providers that keep caches apart are told whose call it is',
    file: 'packages/engine/src/prompt-caches.ts',
    from: 'return accountField === undefined || accountKey === undefined ? {} : { [accountField]: accountKey }',
    to: 'return accountField === undefined || accountKey === undefined ? {} : {}',
    test: TEST,
    named: 'only where MESH says',
  },
  {
    breaks: 'Each account has a key of its own',
    file: 'apps/router/src/call/pseudonyms.ts',
    from: 'update(`${purpose}\\0${accountId}\\0`)',
    to: 'update(`${purpose}\\0${accountId.slice(0, 5)}\\0`)',
    test: TEST,
    named: 'only where MESH says',
  },
  {
    breaks: "A caller's own cache key is salted",
    file: 'packages/engine/src/shapes/chat-completions/parameters.ts',
    from: "extras.prompt_cache_key = options.pseudonym('cache_key', cacheKey)",
    to: 'extras.prompt_cache_key = cacheKey',
    test: TEST,
    named: 'is salted',
  },
  {
    breaks: 'No call above the class standard is cached by a mark or a key',
    file: 'apps/router/src/call/run-call.ts',
    from: "const isStandard = privacy.mode === 'standard' && privacyFloor(privacy, caller) === 'standard'",
    to: "const isStandard = privacyFloor(privacy, caller) === 'standard' || privacy.mode === 'standard'",
    test: TEST,
    named: 'above the class standard',
  },
  {
    breaks: 'What travels as protected is not cached by a mark either',
    file: 'apps/router/src/call/run-call.ts',
    from: "privacy.mode === 'standard' && privacyFloor",
    to: 'privacyFloor',
    test: TEST,
    named: 'only travels as protected',
  },
  {
    breaks: 'An endpoint whose cache accounts share is of the class standard',
    file: 'packages/engine/src/privacy-class.ts',
    from: " === 'protected' && !sharesItsCache(endpoint)",
    to: " === 'protected'",
    test: TEST,
    named: 'above the class standard',
  },
]
