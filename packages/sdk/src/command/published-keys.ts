import type { ReceiptKeys } from '../verify-receipt.ts'
import { CommandError } from './exit-codes.ts'

const PATIENCE_MS = 15_000

/** The keys that a MESH signs with. They are public, so no key is sent for them. */
export async function publishedKeys({
  baseURL,
  signal,
}: {
  readonly baseURL: string
  readonly signal: AbortSignal
}): Promise<ReceiptKeys> {
  const response = await fetchFrom(baseURL, '/.well-known/mesh-receipt-keys.json', signal)
  if (!response.ok) throw new CommandError('refused', `${baseURL} publishes no keys for receipts.`)
  return (await response.json()) as ReceiptKeys
}

/** Asks the root of a MESH, without a key. @throws CommandError where nothing is there. */
export async function fetchFrom(baseURL: string, path: string, signal: AbortSignal): Promise<Response> {
  const root = baseURL.replace(/\/v1\/?$/, '')
  try {
    return await fetch(`${root}${path}`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]),
    })
  } catch (cause) {
    throw new CommandError('notReached', `There is no MESH at ${baseURL}, or it does not answer.`, { cause })
  }
}
