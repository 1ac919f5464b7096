import { fingerprint } from '@mesh/catalog/fingerprint.ts'

/**
 * What stands for an id that a provider does not take, always the same for the same id, in letters and digits. Short, and
 * no two ids of one conversation meet by accident.
 */
export function mappedId(id: string): string {
  return BigInt(`0x${fingerprint(id)}`).toString(36)
}
