/**
 * A variable of the environment, without the white space that a file leaves at its end. Browsers have none, and Deno
 * may refuse to tell.
 */
export function environmentVariable(name: string): string | undefined {
  try {
    return globalThis.process?.env?.[name]?.trim() || undefined
  } catch {
    return undefined
  }
}
