import { withSignature } from '../tool-call-signature.ts'

/** Every vendor's ids so far: `call_…`, `toolu_…`, `functions.name:0`, nine letters, UUIDs. */
const SAFE_ID = /^[a-zA-Z0-9_.:-]{1,128}$/
/** All that the names of tools may have in any shape: a name that goes out comes back in the next turn. */
const UNSAFE_NAME_CHARACTER = /[^a-zA-Z0-9_-]/g
/** Anthropic's bound, the widest. */
const NAME_CHARACTERS_MAX = 128

/** A tool call as it goes out. `index` counts from 0 without gaps, as clients' lists need. */
export interface ToolCallIdentity {
  readonly index: number
  readonly id: string
  readonly name: string
}

/** The tool calls of one choice, by the index that the upstream gave them. */
export interface ToolCallIdentities {
  /** Opens a call. A second opening of the same index is the same call. */
  open(
    upstreamIndex: number,
    id: string,
    name: string,
    signature?: string,
  ): { readonly call: ToolCallIdentity; readonly isNew: boolean }
  find(upstreamIndex: number): ToolCallIdentity | undefined
}

/**
 * Keeps provider-made ids and names from going out unchecked. An id that is malformed, or already used in the same
 * answer, is replaced by one made from the completion's own id, so that it stays the same wherever it is written.
 * A call's signature goes out in its id.
 */
export function toolCallIdentities(completionId: string, choice: number): ToolCallIdentities {
  const calls = new Map<number, ToolCallIdentity>()
  const used = new Set<string>()
  return {
    open(upstreamIndex, id, name, signature) {
      const known = calls.get(upstreamIndex)
      if (known) return { call: known, isNew: false }
      const index = calls.size
      const made = `call_${completionId.slice(completionId.indexOf('_') + 1)}_${choice}_${index}`
      const plainId = SAFE_ID.test(id) && !used.has(id) ? id : made
      const call = { index, id: withSignature(plainId, signature), name: safeName(name) }
      calls.set(upstreamIndex, call)
      used.add(plainId)
      return { call, isNew: true }
    },
    find: (upstreamIndex) => calls.get(upstreamIndex),
  }
}

function safeName(name: string): string {
  return name.slice(0, NAME_CHARACTERS_MAX).replace(UNSAFE_NAME_CHARACTER, '_') || 'unnamed'
}
