/*
 * Bedrock's JSON writes blobs in base64. What it hides of Claude's thinking is such a blob of the text that Anthropic's
 * own API shows: MESH gives out that text, so that the block is the same wherever the model was served.
 */

/** The bytes of a blob, a character each; `undefined` where it is no base64. */
export function blobText(base64: string): string | undefined {
  try {
    return atob(base64)
  } catch {
    return undefined
  }
}

/** The blob of a text; `undefined` where it has characters that are no bytes. */
export function blobOf(text: string): string | undefined {
  try {
    return btoa(text)
  } catch {
    return undefined
  }
}
