import { createHash } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { extname, join, resolve, sep } from 'node:path'

/** A text of the project that anybody may read. */
export interface Document {
  readonly body: Buffer
  readonly contentType: string
  /** Of the body alone: routers of one version agree on it. */
  readonly etag: string
}

/** The index that names every page (https://llmstxt.org), and the description of the API. */
export const INDEX = 'llms.txt'
export const OPENAPI = 'openapi.json'

const FOLDER = resolve(import.meta.dirname, '../../../../docs')
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.md': 'text/markdown; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
}

/**
 * The texts in `docs/`, by their paths in it. They are read once, and a path that is asked for is only ever looked up
 * among these names, so none can lead out of the folder.
 */
export function readDocuments(): ReadonlyMap<string, Document> {
  const names = globSync(['*.md', 'decisions/*.md', INDEX, OPENAPI], { cwd: FOLDER })
  return new Map(names.map((name) => [name.replaceAll(sep, '/'), readDocument(name)]))
}

function readDocument(name: string): Document {
  const body = readFileSync(join(FOLDER, name))
  const digest = createHash('sha256').update(body).digest('base64url').slice(0, 22)
  return {
    body,
    contentType: CONTENT_TYPES[extname(name)] ?? 'text/plain; charset=utf-8',
    etag: `"${digest}"`,
  }
}
