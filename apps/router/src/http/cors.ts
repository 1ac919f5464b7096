import type { FastifyCorsOptions, FastifyCorsOptionsDelegateCallback } from '@fastify/cors'

/** Headers that a page may read from an answer. A wildcard cannot name a prefix, so they are listed. */
export const EXPOSED_HEADERS = [
  'x-request-id',
  'request-id',
  'x-should-retry',
  'retry-after',
  'retry-after-ms',
  'x-mesh-receipt-id',
  'x-mesh-model',
  'x-mesh-provider',
  'x-mesh-privacy',
  'x-mesh-upstream-cost-usd',
  'x-mesh-margin-usd',
  'x-mesh-total-usd',
  'x-mesh-next-cursor',
  'x-ratelimit-limit-requests',
  'x-ratelimit-limit-tokens',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-remaining-tokens',
  'x-ratelimit-reset-requests',
  'x-ratelimit-reset-tokens',
] as const

const PREFLIGHT_AGE_S = 86_400

/**
 * What any answer under `/v1` carries for pages of other origins. For answers that leave around Fastify, which drops
 * the headers set before `hijack()`.
 */
export const CORS_HEADERS: Readonly<Record<string, string>> = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': EXPOSED_HEADERS.join(', '),
}

/** Public, and read beside `/v1` by clients that verify receipts: their own headers make browsers ask first. */
const RECEIPT_KEYS = '/.well-known/mesh-receipt-keys.json'

/** Whether a path is of the API that pages of other origins may call. */
export function isCrossOrigin(url: string): boolean {
  return url === '/v1' || url.startsWith('/v1/') || url.startsWith('/v1?')
}

/**
 * Any origin, never with credentials: a key in a header is the caller's own to give away, a cookie is not. Requested
 * headers are echoed, so SDKs may add theirs (`x-stainless-…`) without MESH knowing each by name.
 */
export const corsDelegate: FastifyCorsOptionsDelegateCallback = (request, callback) => {
  const isOpen = isCrossOrigin(request.url) || request.url === RECEIPT_KEYS
  const options: FastifyCorsOptions = isOpen
    ? {
        origin: '*',
        credentials: false,
        methods: ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'],
        exposedHeaders: [...EXPOSED_HEADERS],
        maxAge: PREFLIGHT_AGE_S,
        strictPreflight: false,
      }
    : { origin: false }
  callback(null, options)
}
