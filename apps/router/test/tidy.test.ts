import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { test } from 'node:test'
import { stalePages } from '../../../scripts/docs.ts'
import { MUTATIONS } from '../../../scripts/mutations/list.ts'

const ROOT = resolve(import.meta.dirname, '../../..')

/** Code without its doc comments, whose examples may print. */
const withoutDocComments = (text: string): string => text.replaceAll(/^ *\*.*$/gm, '')

/** Every source file that ships, by its path in the project. */
const sources = globSync('{apps,packages}/*/src/**/*.ts', { cwd: ROOT })
  .filter((path) => !path.endsWith('.test.ts'))
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))

function importsOf(text: string): string[] {
  return [...text.matchAll(/(?:from|import)\s+'([^']+)'/g)].map(([, name = '']) => name)
}

test('the catalogue, the engine and the client of the SDK import no platform, no framework and no database', () => {
  const allowed: Readonly<Record<string, readonly RegExp[]>> = {
    'packages/catalog/': [/^\.\.?\//, /^zod$/],
    'packages/engine/': [/^\.\.?\//, /^@mesh\/catalog\//, /^zod$/],
    'packages/simulator/': [/^\.\.?\//, /^node:(crypto|http|net|stream|zlib)(\/|$)/],
    'packages/sdk/src/command/': [/^\.\.?\//, /^node:/, /^openai$/],
    'packages/sdk/': [/^\.\.?\/(?!command\/)/, /^openai(\/|$)/],
  }
  const wrong = sources.flatMap(({ path, text }) => {
    const rules = Object.entries(allowed).find(([prefix]) => path.startsWith(prefix))?.[1]
    if (!rules) return []
    const transport = path === 'packages/engine/src/transport.ts'
    return importsOf(text)
      .filter((name) => !rules.some((rule) => rule.test(name)) && !(transport && name === 'undici'))
      .map((name) => `${path} imports ${name}`)
  })
  assert.deepEqual(wrong, [])
})

test('nothing imports an app, and packages do not import what depends on them', () => {
  const wrong = sources.flatMap(({ path, text }) =>
    path.startsWith('packages/')
      ? importsOf(text)
          .filter((name) => name.includes('/apps/') || name.startsWith('@mesh/router'))
          .map((name) => `${path} imports ${name}`)
      : [],
  )
  assert.deepEqual(wrong, [])
})

test('log messages are literals, and no payload is in their fields', () => {
  const calls = sources.flatMap(({ path, text }) =>
    [
      ...text.matchAll(
        /\blog\.(?:error|warn|info|debug)\(\s*([^\s,)][\s\S]{0,400}?)\)\s*(?:\n|$|\.|,|;|\))/g,
      ),
    ].map(([, argument = '']) => ({ path, argument })),
  )
  assert.ok(calls.length > 5, 'the pattern finds the log calls')
  const payload = /\b(body|messages?|prompt|content|text|secret|authorization|payload|chunk|answer|reply)\b/i
  for (const { path, argument } of calls) {
    const literal = /^'([^'\\]*)'/.exec(argument)
    assert.ok(literal, `${path}: a log message is not a literal: ${argument.slice(0, 60)}`)
    const fields = argument.slice(literal[0].length)
    assert.ok(!payload.test(fields), `${path}: a log call names a payload: ${fields.slice(0, 80)}`)
  }
})

test('only the log writes to the outside, but for what a start prints', () => {
  const printers = new Set([
    'apps/router/src/main.ts',
    'apps/router/src/ops.ts',
    'apps/router/src/log.ts',
    'packages/sdk/src/command/main.ts',
  ])
  const printing = /(?<!\/)\bconsole\.|process\.(stdout|stderr)\b/
  const wrong = sources
    .filter(({ path, text }) => !printers.has(path) && printing.test(withoutDocComments(text)))
    .map(({ path }) => path)
  assert.deepEqual(wrong, [])
})

test('the environment is read in one place of each program', () => {
  const readers = new Set([
    'apps/router/src/main.ts',
    'apps/router/src/ops.ts',
    'packages/sdk/src/environment.ts',
    'packages/sdk/src/command/main.ts',
  ])
  const wrong = sources
    .filter(({ path, text }) => !readers.has(path) && /\bprocess\??\.env\b/.test(text))
    .map(({ path }) => path)
  assert.deepEqual(wrong, [])
})

test('money is never a number: nothing turns nano-USD or pico-USD into one', () => {
  // OpenRouter's own shape of a key has numbers; nothing is computed with them.
  const shown = 'apps/router/src/accounts/openrouter-key.ts'
  const wrong = sources
    .filter(({ path }) => path !== shown)
    .flatMap(({ path, text }) =>
      [...text.matchAll(/(?:Number|parseFloat|parseInt)\(([^()]*(?:nano|pico|Usd)[^()]*)\)/gi)].map(
        ([call]) => `${path}: ${call}`,
      ),
    )
  assert.deepEqual(wrong, [])
})

test('no drawers', () => {
  const drawers = /^(utils?|helpers?|common|types|misc|index)\.ts$/
  assert.deepEqual(
    sources.map(({ path }) => path).filter((path) => drawers.test(basename(path))),
    [],
  )
})

test('the pages that are made from tables say what the tables say', async () => {
  assert.deepEqual(await stalePages(), [], 'run npm run docs')
})

test('every dependency has its line in docs/dependencies.md', () => {
  const page = readFileSync(join(ROOT, 'docs/dependencies.md'), 'utf8')
  const manifests = ['package.json', ...globSync('{apps,packages}/*/package.json', { cwd: ROOT })]
  const names = manifests.flatMap((manifest) => {
    const { dependencies = {}, devDependencies = {} } = JSON.parse(readFileSync(join(ROOT, manifest), 'utf8'))
    return Object.keys({ ...dependencies, ...devDependencies })
  })
  const missing = [...new Set(names)].filter(
    (name) => !name.startsWith('@mesh/') && name !== 'openai-6' && !page.includes(name),
  )
  assert.deepEqual(missing, [])
})

test('every rule of the list of mutations can still be broken, and names a test that is there', () => {
  const wrong = MUTATIONS.flatMap(({ breaks, file, from, to, test: testFile }) => {
    const places = existsSync(join(ROOT, file))
      ? readFileSync(join(ROOT, file), 'utf8').split(from).length - 1
      : 0
    return [
      ...(places === 1 ? [] : [`${breaks}: its text occurs ${places} times in ${file}`]),
      ...(from === to ? [`${breaks}: nothing is changed`] : []),
      ...(existsSync(join(ROOT, testFile)) ? [] : [`${breaks}: there is no ${testFile}`]),
    ]
  })
  assert.deepEqual(wrong, [])
})
