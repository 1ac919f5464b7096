import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join, sep } from 'node:path'

export interface NodeVersion {
  readonly program: string
  /** `v20.20.2` */
  readonly version: string
  /** The major of OpenAI's client that this Node can have. */
  readonly openai: 6 | 7
}

const OLDEST_MAJOR = 20
/** OpenAI's client 7 asks for it. */
const OPENAI_7_FROM = 22

/** The Node of the tests, and the machine's own, which `npm test` was started with, where that is another one. */
export function nodeVersions(): NodeVersion[] {
  const folders = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => !folder.includes(`node_modules${sep}`))
  const machines = [process.env.npm_node_execpath, ...folders.map((folder) => join(folder, 'node'))]
  const found = [process.execPath, ...machines].flatMap((program) => {
    if (program === undefined || !existsSync(program)) return []
    const version = String(spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout).trim()
    const major = Number(/^v(\d+)\./.exec(version)?.[1])
    if (!(major >= OLDEST_MAJOR)) return []
    return { program, version, openai: major >= OPENAI_7_FROM ? (7 as const) : (6 as const) }
  })
  return [...new Map(found.reverse().map((node) => [node.version, node])).values()].reverse()
}
