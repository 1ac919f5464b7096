/*
 * Gemini signs its tool calls and, from its third generation on, refuses a conversation in which the signature did not
 * come back with its call (https://ai.google.dev/gemini-api/docs/thought-signatures). OpenAI's shape has no member for
 * it, and most clients put the calls that they send back together from the members that they know. The one thing that
 * all of them give back as it came is the call's id, so the signature travels in it, behind a separator that others
 * use for the same purpose (LiteLLM). No protocol sees such an id: it is taken apart where a request is read.
 * Decision 0011.
 */

const SEPARATOR = '__thought__'
/** Base64 in either alphabet: clients may have ids that another gateway made. */
const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/
/** The longest that is known is some 7,000 characters long. A longer one is not given out. */
const SIGNATURE_CHARACTERS_MAX = 32_768

/** The longest text behind an id. */
export const SIGNED_ID_CHARACTERS_ADDED_MAX = SEPARATOR.length + SIGNATURE_CHARACTERS_MAX

/** A tool call's id with its signature in it. It holds letters, digits, `_` and `-` besides what the id holds. */
export function withSignature(id: string, signature: string | undefined): string {
  if (signature === undefined || signature.length > SIGNATURE_CHARACTERS_MAX || !BASE64.test(signature)) {
    return id
  }
  const urlSafe = signature.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
  return `${id}${SEPARATOR}${urlSafe}`
}

/** Takes an id apart: what the provider called the call, and its signature, where there is one. */
export function readSignedId(text: string): { readonly id: string; readonly signature?: string } {
  const at = text.indexOf(SEPARATOR)
  if (at <= 0) return { id: text }
  const written = text.slice(at + SEPARATOR.length)
  if (!BASE64.test(written)) return { id: text }
  const standard = written.replaceAll('-', '+').replaceAll('_', '/').replaceAll('=', '')
  return { id: text.slice(0, at), signature: standard.padEnd(Math.ceil(standard.length / 4) * 4, '=') }
}
