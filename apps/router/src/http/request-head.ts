import type { IncomingMessage } from 'node:http'
import { MeshError } from '../errors.ts'

const SCHEME_AND_AUTHORITY = /^https?:\/\/[^/?#]*/i

/**
 * The path of a request whose target may be a whole URL, as one to a proxy is (RFC 9112, 3.2.2: every server must take
 * it). What goes by the path, such as CORS and caching, then sees the same of both forms.
 */
export function originForm({ url = '/' }: Pick<IncomingMessage, 'url'>): string {
  if (url.startsWith('/')) return url
  const authority = SCHEME_AND_AUTHORITY.exec(url)?.[0]
  if (authority === undefined) return url
  const path = url.slice(authority.length)
  return path.startsWith('/') ? path : `/${path}`
}

/**
 * @throws MeshError for a body in a transfer coding that MESH does not undo, which it would take for the body itself,
 * and for one that HTTP/1.0 does not have (RFC 9112, 6.1: whoever forwards such a request reads it differently).
 */
export function requirePlainTransfer({
  headers,
  httpVersion,
}: Pick<IncomingMessage, 'headers' | 'httpVersion'>): void {
  const coding = headers['transfer-encoding']
  if (coding === undefined) return
  if (httpVersion === '1.0') {
    throw new MeshError('invalid_request', 'HTTP/1.0 has no Transfer-Encoding. Send Content-Length.', {
      headers: { connection: 'close' },
    })
  }
  if (coding.trim().toLowerCase() === 'chunked') return
  throw new MeshError(
    'unsupported_media_type',
    'Send the body as it is, or chunked: MESH takes no other Transfer-Encoding.',
    { headers: { connection: 'close' } },
  )
}

/**
 * Headers that must not come twice. Node keeps the first of each, where a proxy in front may have gone by the last: of
 * two keys, or of two hosts, each would have seen another (RFC 9110, 5.3; RFC 9112, 3.2).
 */
const SINGLE_HEADERS: ReadonlySet<string> = new Set([
  'host',
  'authorization',
  'x-api-key',
  'content-type',
  'content-encoding',
  'idempotency-key',
])

/** @throws MeshError `invalid_request` for a header that must not come twice and does. */
export function requireSingleHeaders({ rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>): void {
  const seen = new Set<string>()
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase() ?? ''
    if (!SINGLE_HEADERS.has(name)) continue
    if (seen.has(name)) {
      throw new MeshError(
        'invalid_request',
        `The request has the header ${name} more than once. Send it once.`,
      )
    }
    seen.add(name)
  }
}
