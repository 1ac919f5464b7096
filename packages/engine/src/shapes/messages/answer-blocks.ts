import type { StreamEvent } from '../../stream-event.ts'
import { type ReplyInfo, reasoningFormat } from '../reply.ts'
import { type ToolCallIdentities, type ToolCallIdentity, toolCallIdentities } from '../tool-call-identity.ts'
import { proofFor } from './reasoning-proof.ts'

/** A content block of an answer while it is put together. Its place in the list is its index. */
export type AnswerBlock = {
  /** What was added and has not been sent: all of it where the answer goes out whole. */
  text: string
} & (
  | { readonly type: 'text' }
  /** `proof` ends it. */
  | { readonly type: 'thinking'; proof: string; ended: boolean }
  | { readonly type: 'redacted_thinking'; readonly data: string }
  | { readonly type: 'tool_use'; readonly call: ToolCallIdentity; readonly json: JsonEnd }
)

/** The content of one answer. */
export interface AnswerBlocks {
  readonly list: AnswerBlock[]
  readonly info: ReplyInfo
  readonly format: string
  readonly tools: ToolCallIdentities
  /** By the place of the call among all calls. */
  readonly calls: AnswerBlock[]
  /** Whether the model said that it refuses. */
  refused: boolean
}

export function answerBlocks(info: ReplyInfo): AnswerBlocks {
  return {
    list: [],
    info,
    format: reasoningFormat(info),
    tools: toolCallIdentities(info.id, 0),
    calls: [],
    refused: false,
  }
}

/** Adds what an event brings. Returns the block and the text that it grows by, for the caller to keep or to send. */
export function addEvent(
  blocks: AnswerBlocks,
  event: StreamEvent,
): { readonly block: AnswerBlock; readonly piece: string } | undefined {
  switch (event.type) {
    case 'refusal':
      blocks.refused ||= event.text !== ''
      return addText(blocks, event.text)
    case 'text':
      return addText(blocks, event.text)
    case 'reasoning':
      if (event.text === '' || blocks.info.excludeReasoning) return undefined
      return { block: openThinking(blocks), piece: event.text }
    case 'reasoning-end':
      endThinking(blocks, event)
      return undefined
    case 'tool-call': {
      const { call, isNew } = blocks.tools.open(event.index, event.id, event.name, event.signature)
      if (!isNew) return undefined
      const block: AnswerBlock = { type: 'tool_use', text: '', call, json: new JsonEnd() }
      blocks.list.push(block)
      blocks.calls[call.index] = block
      return { block, piece: '' }
    }
    case 'tool-arguments': {
      const place = blocks.tools.find(event.index)?.index
      const block = place === undefined ? undefined : blocks.calls[place]
      if (block?.type !== 'tool_use' || event.fragment === '') return undefined
      block.json.read(event.fragment)
      return { block, piece: event.fragment }
    }
    default:
      return undefined
  }
}

function addText(blocks: AnswerBlocks, piece: string) {
  if (piece === '') return undefined
  const last = blocks.list.at(-1)
  if (last?.type === 'text') return { block: last, piece }
  const block: AnswerBlock = { type: 'text', text: '' }
  blocks.list.push(block)
  return { block, piece }
}

function openThinking({ list }: AnswerBlocks): Extract<AnswerBlock, { type: 'thinking' }> {
  const last = list.at(-1)
  if (last?.type === 'thinking' && !last.ended) return last
  const block: Extract<AnswerBlock, { type: 'thinking' }> = {
    type: 'thinking',
    text: '',
    proof: '',
    ended: false,
  }
  list.push(block)
  return block
}

/** Whoever wants no reasoning in the answer still gets its proofs: the next turn may need them. */
function endThinking(
  blocks: AnswerBlocks,
  { signature, redacted }: { readonly signature?: string; readonly redacted?: string },
): void {
  const last = blocks.list.at(-1)
  const isOpen = last?.type === 'thinking' && !last.ended
  if (isOpen || signature !== undefined) {
    const block = openThinking(blocks)
    block.ended = true
    if (signature !== undefined) block.proof = proofFor(signature, blocks.format)
  }
  if (redacted === undefined) return
  blocks.list.push({ type: 'redacted_thinking', text: '', data: proofFor(redacted, blocks.format) })
}

/** Whether a block cannot grow any more once another has begun behind it. */
export function isComplete(block: AnswerBlock): boolean {
  return block.type !== 'tool_use' || block.json.isComplete
}

const CHARACTERS = { quote: 0x22, backslash: 0x5c, open: 0x7b, close: 0x7d } as const

/** Finds the end of a JSON object that comes in fragments, without parsing it again for each. */
export class JsonEnd {
  #depth = 0
  #inText = false
  #escaped = false
  #complete = false

  get isComplete(): boolean {
    return this.#complete
  }

  read(fragment: string): void {
    for (let at = 0; at < fragment.length && !this.#complete; at++) this.#take(fragment.charCodeAt(at))
  }

  #take(unit: number): void {
    if (this.#escaped) this.#escaped = false
    else if (this.#inText && unit === CHARACTERS.backslash) this.#escaped = true
    else if (unit === CHARACTERS.quote) this.#inText = !this.#inText
    else if (this.#inText) return
    else if (unit === CHARACTERS.open) this.#depth += 1
    else if (unit === CHARACTERS.close) {
      this.#depth -= 1
      this.#complete = this.#depth <= 0
    }
  }
}
