import type { IncomingHttpHeaders } from 'node:http'
import type { Reply } from '../family.ts'
import { refuse } from './refusal.ts'

const SIGNED =
  /^AWS4-HMAC-SHA256 Credential=[^/\s]+\/(\d{8})\/[a-z0-9-]+\/bedrock\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}$/

/**
 * What is wrong with a request's credential. The simulator knows no secret keys, so of a signature it checks what can
 * be checked without: its scope, its date, and that it covers what it must.
 */
export function credentialRefusal(headers: IncomingHttpHeaders, requestId: string): Reply | undefined {
  const authorization = headers.authorization ?? ''
  if (/^Bearer \S+$/.test(authorization)) return undefined
  if (!authorization.startsWith('AWS4-HMAC-SHA256')) {
    return refuse('MissingAuthenticationTokenException', 'Missing Authentication Token', requestId)
  }
  const [, day, covered] = SIGNED.exec(authorization) ?? []
  const date = headers['x-amz-date']
  if (
    day === undefined ||
    typeof date !== 'string' ||
    !/^\d{8}T\d{6}Z$/.test(date) ||
    !date.startsWith(day)
  ) {
    return refuse(
      'IncompleteSignatureException',
      "Authorization header requires a credential scope for 'bedrock' and an 'X-Amz-Date' of its day.",
      requestId,
    )
  }
  const required = [
    'host',
    'x-amz-date',
    ...(headers['x-amz-security-token'] ? ['x-amz-security-token'] : []),
  ]
  const names = covered?.split(';') ?? []
  if (required.every((name) => names.includes(name))) return undefined
  return refuse('UnrecognizedClientException', `The signature must cover ${required.join(', ')}.`, requestId)
}
