import type { ReasoningBlock } from '../../ask.ts'

/*
 * A reasoning item has one place for what only its maker can read, and none for whose it is. What a model of OpenAI's
 * encrypted stands there as it is. What proves another maker's block genuine has its maker's name in front, and the kind
 * of proof that it is, so that it returns to that maker alone when the conversation goes on elsewhere.
 */

const RESPONSES = 'openai-responses-v1'
const MARK = /^mesh:([a-z0-9-]{1,64}):(signature|redacted):/

/** Stands there where a model proves nothing: some clients give back no item of which they know nothing more. */
export const UNPROVEN = 'mesh:unproven'

type Proof = Pick<ReasoningBlock, 'signature' | 'redacted'>

/** What proves a block genuine, as it goes out to the caller. `format` names its maker (`reasoningFormat`). */
export function encryptedContent({ signature, redacted }: Proof, format: string): string | undefined {
  if (redacted !== undefined) return format === RESPONSES ? redacted : `mesh:${format}:redacted:${redacted}`
  return signature === undefined ? undefined : `mesh:${format}:signature:${signature}`
}

/** What an item that came back says of its block: whose it is, and its proof. */
export function proofOf(encrypted: string): Pick<ReasoningBlock, 'signature' | 'redacted' | 'format'> {
  const mark = MARK.exec(encrypted)
  if (!mark) return { redacted: encrypted, format: RESPONSES }
  const [whole, format = '', kind = ''] = mark
  return { [kind]: encrypted.slice(whole.length), format }
}
