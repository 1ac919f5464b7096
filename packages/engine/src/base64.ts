/* Texts as base64 of their UTF-8, without `node:buffer`. */

/** In pieces: a call takes only so many arguments. */
const PIECE_BYTES = 8_192

export function base64OfText(text: string): string {
  const bytes = new TextEncoder().encode(text)
  let binary = ''
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    binary += String.fromCharCode(...bytes.subarray(at, at + PIECE_BYTES))
  }
  return btoa(binary)
}

export function textOfBase64(base64: string): string {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  return new TextDecoder().decode(bytes)
}
