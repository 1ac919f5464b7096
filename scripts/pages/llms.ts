import { globSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'

const FOLDER = resolve(import.meta.dirname, '../../docs')

/** The order in which a newcomer reads. What is not named comes after it, by name. */
const FIRST = ['quickstart', 'concepts', 'routing', 'models', 'streaming', 'tools-and-json', 'sdk', 'cli']
/** What somebody who only calls MESH can leave out. */
const OPTIONAL = ['running', 'settings', 'metrics', 'performance', 'glossary', 'dependencies']

/** `docs/llms.txt`: what there is to read, in the form of https://llmstxt.org. */
export function llmsText(): string {
  const names = globSync('*.md', { cwd: FOLDER }).map((path) => basename(path, '.md'))
  const rank = (name: string) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length)
  const pages = names.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
  const isOptional = (name: string) => OPTIONAL.includes(name)
  return `# MESH

> An OpenAI-compatible router: one base URL and one prepaid balance for 46 models from 14 providers. Every call leaves a cost, a signed receipt and a billing reason, and never its content.

Any OpenAI SDK works with the base URL \`/v1\` of this server and a key (\`mesh_live_…\`, or \`mesh_test_…\` for simulated providers at no cost). The API is described in [/openapi.json](/openapi.json).

## Docs

${pages
  .filter((name) => !isOptional(name))
  .map(link)
  .join('\n')}

## Optional

${pages.filter(isOptional).map(link).join('\n')}
`
}

function link(name: string): string {
  const markdown = readFileSync(join(FOLDER, `${name}.md`), 'utf8')
  const title = /^# (.+)$/m.exec(markdown)?.[1] ?? name
  return `- [${title}](/docs/${name}.md): ${firstSentence(markdown)}`
}

/** Without its links: they are written as seen from the page, not from here. */
function firstSentence(markdown: string): string {
  const paragraphs = markdown.split('\n').filter((line) => !/^(#|<!--)/.test(line))
  const text = paragraphs
    .join(' ')
    .trim()
    .replaceAll(/\[([^\]]+)\]\([^)]+\)/g, '$1')
  return /^.*?\.(?=\s)/.exec(text)?.[0] ?? text
}
