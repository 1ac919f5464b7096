import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const ROOT = resolve(import.meta.dirname, '../../../..')

/** What a page's examples are written in, by the word behind the fence. */
const LANGUAGES = {
  sh: 'sh',
  bash: 'sh',
  js: 'js',
  javascript: 'js',
  ts: 'ts',
  typescript: 'ts',
  python: 'python',
} as const

export type Language = (typeof LANGUAGES)[keyof typeof LANGUAGES]

/** An example of a page, to be run as it is written. */
export interface Snippet {
  readonly page: string
  /** Where its fence is. */
  readonly line: number
  readonly language: Language
  readonly code: string
  /** What stands in `<!-- test: … -->` above it: it has checks of its own. */
  readonly mark?: string
  /** Why it is not run, as `<!-- not run: … -->` above it says. */
  readonly notRun?: string
  /** What the page says that it prints: the fence with `output` right behind it. */
  readonly output?: { readonly language: string; readonly text: string }
}

interface Fence {
  readonly line: number
  readonly info: string
  readonly text: string
  /** The comment lines right above. */
  readonly comments: readonly string[]
  /** Whether nothing but empty lines is between it and the fence before. */
  readonly followsFence: boolean
}

const MARK = /^<!-- test: (.+) -->$/
const NOT_RUN = /^<!-- not run: (.+) -->$/

/** The examples of a page of the project, in order. */
export function snippetsOf(page: string): Snippet[] {
  const fences = fencesOf(readFileSync(join(ROOT, page), 'utf8'))
  return fences.flatMap(({ line, info, text, comments }, place) => {
    const language = LANGUAGES[info as keyof typeof LANGUAGES]
    if (language === undefined) return []
    const next = fences[place + 1]
    const [outputLanguage = '', word] = next?.info.split(' ') ?? []
    const mark = lastMatch(comments, MARK)
    const notRun = lastMatch(comments, NOT_RUN)
    return {
      page,
      line,
      language,
      code: text,
      ...(mark === undefined ? {} : { mark }),
      ...(notRun === undefined ? {} : { notRun }),
      ...(next?.followsFence && word === 'output'
        ? { output: { language: outputLanguage, text: next.text } }
        : {}),
    }
  })
}

/** The fences of a page that hold JSON and are no output. */
export function jsonOf(page: string): readonly { readonly line: number; readonly text: string }[] {
  return fencesOf(readFileSync(join(ROOT, page), 'utf8')).filter(({ info }) => info === 'json')
}

function lastMatch(lines: readonly string[], pattern: RegExp): string | undefined {
  return lines.map((line) => pattern.exec(line)?.[1]).findLast((found) => found !== undefined)
}

function fencesOf(markdown: string): Fence[] {
  const lines = markdown.split('\n')
  const fences: Fence[] = []
  let endOfLast = -1
  for (let at = 0; at < lines.length; at++) {
    const info = /^```(\S.*)$/.exec(lines[at] ?? '')?.[1]
    if (info === undefined) continue
    const end = lines.indexOf('```', at + 1)
    if (end === -1) throw new Error(`the fence of line ${at + 1} is not closed`)
    let firstComment = at
    while (lines[firstComment - 1]?.startsWith('<!--')) firstComment--
    fences.push({
      line: at + 1,
      info,
      text: `${lines.slice(at + 1, end).join('\n')}\n`,
      comments: lines.slice(firstComment, at),
      followsFence: endOfLast !== -1 && lines.slice(endOfLast + 1, at).every((line) => line.trim() === ''),
    })
    endOfLast = end
    at = end
  }
  return fences
}

/** What of a stated output was not printed, in words; undefined where all was. `…` stands for anything. */
export function outputFault(stated: NonNullable<Snippet['output']>, printed: string): string | undefined {
  if (stated.language === 'json') {
    const wanted: unknown = JSON.parse(stated.text)
    let got: unknown
    try {
      got = JSON.parse(printed)
    } catch {
      return `it prints no JSON: ${printed}`
    }
    return jsonFault(wanted, got, '$')
  }
  return matches(stated.text.trim(), printed.trim()) ? undefined : `it prints:\n${printed}`
}

/** Every member that is stated must be there; those that are not stated may be. */
function jsonFault(wanted: unknown, got: unknown, path: string): string | undefined {
  if (typeof wanted === 'string' && wanted.includes('…')) {
    return typeof got === 'string' && matches(wanted, got) ? undefined : fault(path, wanted, got)
  }
  if (Array.isArray(wanted)) {
    if (!Array.isArray(got) || got.length !== wanted.length) return fault(path, wanted, got)
    return firstFault(wanted.map((item, place) => jsonFault(item, got[place], `${path}[${place}]`)))
  }
  if (typeof wanted === 'object' && wanted !== null) {
    if (typeof got !== 'object' || got === null) return fault(path, wanted, got)
    const members: Readonly<Record<string, unknown>> = { ...got }
    return firstFault(
      Object.entries(wanted).map(([name, value]) => jsonFault(value, members[name], `${path}.${name}`)),
    )
  }
  return wanted === got ? undefined : fault(path, wanted, got)
}

function firstFault(faults: readonly (string | undefined)[]): string | undefined {
  return faults.find((each) => each !== undefined)
}

function fault(path: string, wanted: unknown, got: unknown): string {
  return `${path} is ${JSON.stringify(got)}, and the page says ${JSON.stringify(wanted)}`
}

function matches(pattern: string, text: string): boolean {
  const parts = pattern.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
  return new RegExp(`^${parts.join('[\\s\\S]+')}$`).test(text)
}
