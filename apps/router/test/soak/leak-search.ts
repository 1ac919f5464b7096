import { readdirSync, readFileSync, type Stats, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { CanarySearch } from '../support/canary-search.ts'

/** Looks for texts that must be nowhere in files, in those that have changed since it looked last. */
export class LeakSearch {
  readonly #search: CanarySearch
  readonly #looked = new Map<string, string>()

  /** The texts by their names. */
  constructor(texts: ReadonlyMap<string, string>) {
    this.#search = new CanarySearch(texts)
  }

  /** Sentences on what is in a text. */
  inText(where: string, text: string): string[] {
    return this.#sentences(where, text)
  }

  /** Sentences on what is in a folder's files, write-ahead log included, or in a single file. */
  inFiles(path: string): string[] {
    return filesBelow(path).flatMap(({ file, entry }) => {
      const version = `${entry.size} ${entry.mtimeMs} ${entry.ctimeMs} ${entry.ino}`
      if (this.#looked.get(file) === version) return []
      const bytes = bytesOf(file)
      if (bytes === undefined) return []
      this.#looked.set(file, version)
      return this.#sentences(`the file ${relative(path, file) || 'of the log'}`, bytes)
    })
  }

  #sentences(where: string, bytes: Buffer | string): string[] {
    return this.#search.in(bytes).map(({ name, form }) => `There is ${name} (${form}) in ${where}.`)
  }
}

function filesBelow(path: string): { readonly file: string; readonly entry: Stats }[] {
  const entry = statSync(path, { throwIfNoEntry: false })
  if (entry?.isFile()) return [{ file: path, entry }]
  if (!entry?.isDirectory()) return []
  return unlessGone(() => readdirSync(path), []).flatMap((name) => filesBelow(join(path, name)))
}

/** A file's bytes, unless PostgreSQL has taken it away in the meantime. */
function bytesOf(file: string): Buffer | undefined {
  return unlessGone(() => readFileSync(file), undefined)
}

function unlessGone<Found>(look: () => Found, otherwise: Found): Found {
  try {
    return look()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return otherwise
    throw error
  }
}
