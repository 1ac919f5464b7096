import { loadSigningKey } from '../records/signing-key.ts'
import { homeFile, type Settings } from '../settings.ts'
import { StartupError } from '../storage/startup-error.ts'

/** The id of the key that routers with these settings sign with; `undefined` where there is none yet. */
export async function ownSigningKeyId(settings: Settings): Promise<string | undefined> {
  try {
    const file = settings.signingKeyFile ?? homeFile(settings, 'signing-key.pem')
    return (await loadSigningKey(file, { createIfMissing: false })).keyId
  } catch (error) {
    if (error instanceof StartupError) return undefined
    throw error
  }
}
