import type { ReasoningBlock } from '../../ask.ts'

/*
 * Anthropic's blocks of thinking have one place for what proves that they are genuine, and none for whose they are. A
 * proof of Claude's stands there as it is; one of another maker's has its maker's name in front, so that it returns to
 * that maker alone when the conversation goes on elsewhere.
 */

const CLAUDE = 'anthropic-claude-v1'
const MARK = /^mesh:([a-z0-9-]{1,64}):/

/** A proof as it goes out to the caller. `format` names its maker (`reasoningFormat`). */
export function proofFor(proof: string, format: string): string {
  return format === CLAUDE ? proof : `mesh:${format}:${proof}`
}

/** What a proof that came back says of its block. An empty one is that of a model that proves nothing. */
export function reasoningBlock(
  kind: 'signature' | 'redacted',
  proof: string,
): Pick<ReasoningBlock, 'signature' | 'redacted' | 'format'> {
  if (proof === '') return {}
  const format = MARK.exec(proof)?.[1]
  if (format === undefined) return { [kind]: proof, format: CLAUDE }
  return { [kind]: proof.slice(`mesh:${format}:`.length), format }
}
