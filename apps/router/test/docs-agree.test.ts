import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { chatCompletionBody } from '@mesh/engine/shapes/chat-completions/schema.ts'
import type { ChatCompletionCreateParamsBase } from 'openai/resources/chat/completions'
import { NO_LIMITS } from '../src/accounts/limits.ts'
import { SCOPES } from '../src/accounts/scopes.ts'
import { EXPOSED_HEADERS } from '../src/http/cors.ts'
import { ROOT } from './support/doc-snippets.ts'

/** What pages list by hand is held against the code's own tables. */

const PAGES = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', ...globSync('docs/**/*.md', { cwd: ROOT })]
const textOf = (page: string) => readFileSync(join(ROOT, page), 'utf8')

function assertNamed(page: string, words: readonly string[]): void {
  const text = textOf(page)
  const missing = words.filter((word) => !new RegExp(`\`${word}[\`:]`).test(text))
  assert.deepEqual(missing, [], `${page} lacks them`)
}

test('every link from page to page leads somewhere', () => {
  const broken = PAGES.flatMap((page) => {
    const prose = textOf(page).replaceAll(/^```[\s\S]*?^```$/gm, '')
    return [...prose.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)].flatMap(
      ([link, path = '', anchor]) => {
        const target = path === '' ? page : relative(ROOT, join(ROOT, dirname(page), path))
        if (!existsSync(join(ROOT, target))) return [`${page}: ${link}`]
        return anchor === undefined || anchorsOf(textOf(target)).includes(anchor) ? [] : [`${page}: ${link}`]
      },
    )
  })
  assert.deepEqual(broken, [])
})

/** As GitHub makes them from headings. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

test('the README leads to every page of docs/', () => {
  const readme = textOf('README.md')
  const unlisted = globSync('docs/*.md', { cwd: ROOT }).filter((page) => !readme.includes(`(${page})`))
  assert.deepEqual(unlisted, [])
})

test('pages of other origins may read every header that is explained, and no other', () => {
  assertNamed('docs/headers.md', EXPOSED_HEADERS)
  const [, answers = ''] = textOf('docs/headers.md').split('## Of an answer')
  const rows = answers.split('\n').flatMap((line) => /^\| (`[^|]+) \|/.exec(line)?.[1] ?? [])
  const explained = rows.flatMap((cell) => [...cell.matchAll(/`([a-z-]+)/g)].map(([, name]) => name))
  assert.deepEqual(explained.sort(), [...EXPOSED_HEADERS].sort())
})

test('every limit and every scope is explained', () => {
  assertNamed('docs/limits.md', [...Object.keys(NO_LIMITS), ...SCOPES])
})

/** Every parameter that OpenAI's client knows: the compiler sees that none is missing and none is made up. */
const OPENAI_PARAMETERS: Readonly<Record<keyof ChatCompletionCreateParamsBase, true>> = {
  audio: true,
  frequency_penalty: true,
  function_call: true,
  functions: true,
  logit_bias: true,
  logprobs: true,
  max_completion_tokens: true,
  max_tokens: true,
  messages: true,
  metadata: true,
  modalities: true,
  model: true,
  moderation: true,
  n: true,
  parallel_tool_calls: true,
  prediction: true,
  presence_penalty: true,
  prompt_cache_key: true,
  prompt_cache_options: true,
  prompt_cache_retention: true,
  reasoning_effort: true,
  response_format: true,
  safety_identifier: true,
  seed: true,
  service_tier: true,
  stop: true,
  store: true,
  stream: true,
  stream_options: true,
  temperature: true,
  tool_choice: true,
  tools: true,
  top_logprobs: true,
  top_p: true,
  user: true,
  verbosity: true,
  web_search_options: true,
}

test('every parameter of a chat completion that OpenAI has is explained', () => {
  assertNamed('docs/compatibility.md', [
    ...Object.keys(OPENAI_PARAMETERS),
    ...Object.keys(chatCompletionBody.shape),
  ])
})
