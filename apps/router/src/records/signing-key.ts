import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  sign,
} from 'node:crypto'
import { chmod, link, readFile, rm, writeFile } from 'node:fs/promises'
import { Sensitive } from '../sensitive.ts'
import { StartupError } from '../storage/startup-error.ts'

/** A public Ed25519 key as a JSON Web Key (RFC 8037). */
export interface PublicJwk {
  readonly kty: 'OKP'
  readonly crv: 'Ed25519'
  readonly x: string
  readonly kid: string
  readonly alg: 'Ed25519'
  readonly use: 'sig'
}

/** The platform's key: it signs receipts, and the secrets that only MESH needs are derived from it. */
export interface SigningKey {
  readonly keyId: string
  readonly publicJwk: PublicJwk
  /** Ed25519 over the bytes as they are. */
  sign(bytes: Uint8Array): Buffer
  /** 32 bytes for one named purpose: the same on every router that has this key. */
  deriveSecret(purpose: string): Buffer
  /** The private key itself (PKCS #8), for another process of this machine. */
  readonly pem: Sensitive<string>
}

/**
 * Reads the key, or makes it where it may be made. The file is PKCS #8 PEM, mode 0600, and appears whole or not at
 * all, also when two processes start at once.
 * @throws StartupError when the file is missing and must not be made, or is not an Ed25519 key.
 */
export async function loadSigningKey(
  file: string,
  options: { readonly createIfMissing: boolean },
): Promise<SigningKey> {
  const pem = (await readIfThere(file)) ?? (options.createIfMissing ? await createKeyFile(file) : undefined)
  if (pem === undefined) {
    throw new StartupError(
      `The signing key file named by MESH_SIGNING_KEY_FILE is not there. Make one with: openssl genpkey -algorithm ed25519`,
    )
  }
  return signingKeyFrom(new Sensitive(pem))
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new StartupError('The signing key file cannot be read. Check its owner and mode (0600).')
  }
}

async function createKeyFile(file: string): Promise<string> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const draft = `${file}.${process.pid}`
  await writeFile(draft, pem, { mode: 0o600 })
  try {
    await link(draft, file)
    await chmod(file, 0o600)
    return pem
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST')
      return await readFile(file, 'utf8')
    throw error
  } finally {
    await rm(draft, { force: true })
  }
}

function parsePrivateKey(pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Falls through to the sentence below: the parser's own words may quote the file.
  }
  throw new StartupError('The signing key file does not hold an Ed25519 private key in PEM form.')
}

/** @throws StartupError where the text is not an Ed25519 key in PEM form. */
export function signingKeyFrom(pem: Sensitive<string>): SigningKey {
  const privateKey = parsePrivateKey(pem.reveal())
  const jwk = createPublicKey(privateKey).export({ format: 'jwk' })
  const x = jwk.x ?? ''
  const keyId = createHash('sha256').update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest('base64url')
  const privateBytes = privateKey.export({ type: 'pkcs8', format: 'der' })
  return {
    keyId,
    publicJwk: { kty: 'OKP', crv: 'Ed25519', x, kid: keyId, alg: 'Ed25519', use: 'sig' },
    sign: (bytes) => sign(null, bytes, privateKey),
    deriveSecret: (purpose) => Buffer.from(hkdfSync('sha256', privateBytes, 'mesh', purpose, 32)),
    pem,
  }
}
