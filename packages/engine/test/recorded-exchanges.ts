import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { JsonObject } from '../src/ask.ts'

/** Recorded answers of real providers. They lie beside the project, not in it. */
const TRANSCRIPTS = join(import.meta.dirname, '../../../../shared/transcripts')

/** One recorded exchange: what a provider was asked, and what it answered. */
export interface RecordedExchange {
  readonly file: string
  readonly provider: string
  readonly path: string
  readonly streamAsked: boolean
  /** What the provider was sent. */
  readonly requestBody: JsonObject
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The body's text as it was on the wire, or as it would be: JSON bodies were recorded parsed. */
  readonly body: string
}

/**
 * All recorded exchanges with a path, without its query, that ends as asked, or `undefined` where the recordings are
 * not there.
 */
export function recordedExchanges(...pathEnds: readonly string[]): readonly RecordedExchange[] | undefined {
  if (!existsSync(TRANSCRIPTS)) return undefined
  const exchanges: RecordedExchange[] = []
  for (const provider of readdirSync(TRANSCRIPTS, { withFileTypes: true })) {
    if (!provider.isDirectory()) continue
    for (const file of readdirSync(join(TRANSCRIPTS, provider.name)).sort()) {
      const record = JSON.parse(readFileSync(join(TRANSCRIPTS, provider.name, file), 'utf8'))
      const { request, response } = record
      const path: string = request.path?.split('?')[0] ?? ''
      if (!pathEnds.some((end) => path.endsWith(end)) || response.encoding === 'base64') continue
      exchanges.push({
        file: `${provider.name}/${file}`,
        provider: provider.name,
        path: request.path,
        streamAsked: request.body?.stream === true,
        requestBody: request.body ?? {},
        status: response.status,
        headers: response.headers,
        body: response.encoding === 'json' ? JSON.stringify(response.body) : response.body,
      })
    }
  }
  return exchanges
}
