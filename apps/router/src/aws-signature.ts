import { createHash, createHmac } from 'node:crypto'
import type { RequestToSign } from '@mesh/engine/transport.ts'
import type { AwsKeys } from './aws-settings.ts'

const ALGORITHM = 'AWS4-HMAC-SHA256'
/** The name by which Bedrock's hosts know themselves in a signature. */
const SERVICE = 'bedrock'

/**
 * Signs requests with Signature Version 4, and returns the headers to add.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 *
 * The signature covers the method, the path, the whole body, the host, the content type and AWS's own headers: nothing
 * that a proxy on the way may change. Queries are not signed, for no path that is sent has one. `now` is Unix time in
 * milliseconds; AWS refuses what is five minutes off.
 */
export function awsSigner(
  keys: AwsKeys,
  region: string,
  now: () => number,
): (request: RequestToSign) => Record<string, string> {
  return (request) => {
    const moment = new Date(now()).toISOString().replace(/[:-]|\.\d{3}/g, '')
    const day = moment.slice(0, 8)
    const scope = `${day}/${region}/${SERVICE}/aws4_request`
    const own = {
      'x-amz-date': moment,
      ...(keys.sessionToken ? { 'x-amz-security-token': keys.sessionToken.reveal() } : {}),
    }
    const covered = coveredHeaders({ ...request.headers, ...own, host: request.host })
    const names = covered.map(([name]) => name).join(';')
    const canonical = [
      'POST',
      canonicalPath(request.path),
      '',
      ...covered.map(([name, value]) => `${name}:${value}`),
      '',
      names,
      sha256(request.body),
    ].join('\n')
    const toSign = [ALGORITHM, moment, scope, sha256(canonical)].join('\n')
    const secret = `AWS4${keys.secretAccessKey.reveal()}`
    const signingKey = [day, region, SERVICE, 'aws4_request'].reduce<string | Buffer>(hmac, secret)
    const signature = hmac(signingKey, toSign).toString('hex')
    const credential = `${keys.accessKeyId.reveal()}/${scope}`
    return {
      ...own,
      authorization: `${ALGORITHM} Credential=${credential}, SignedHeaders=${names}, Signature=${signature}`,
    }
  }
}

/** The headers that are signed, by name, as AWS will read them again. */
function coveredHeaders(headers: Readonly<Record<string, string>>): (readonly [string, string])[] {
  return Object.entries(headers)
    .map(([name, value]) => [name.toLowerCase(), value.trim().replace(/\s+/g, ' ')] as const)
    .filter(([name]) => name === 'host' || name === 'content-type' || name.startsWith('x-amz-'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

/** The path is encoded already; every service but S3 encodes it once more for the signature. */
function canonicalPath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
