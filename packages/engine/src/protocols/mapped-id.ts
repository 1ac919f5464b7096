/**
 * What stands for an id that a provider does not take, always the same for the same id: FNV-1a over 64 bits, in letters
 * and digits. Short, and no two ids of one conversation meet by accident.
 */
export function mappedId(id: string): string {
  let hash = 0xcbf29ce484222325n
  for (let index = 0; index < id.length; index += 1) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(id.charCodeAt(index))) * 0x100000001b3n)
  }
  return hash.toString(36)
}
