import type { JsonObject } from '../../ask.ts'
import { toolInput } from '../../protocols/tool-input.ts'
import type { ReplyInfo, WholeReply } from '../reply.ts'
import { type AnswerBlock, addEvent, answerBlocks } from './answer-blocks.ts'
import { renderUsage, type Stop, stopMembers } from './reply.ts'

/** An answer as a message in one piece. */
export function createMessageReply(info: ReplyInfo): WholeReply {
  const blocks = answerBlocks(info)
  const stop: Stop = { reason: undefined, sequence: undefined }
  return {
    event(event) {
      if (event.type === 'finish') {
        stop.reason = event.reason
        stop.sequence = event.stopSequence
        return
      }
      const added = addEvent(blocks, event)
      if (added) added.block.text += added.piece
    },
    finish(closing) {
      const body = JSON.stringify({
        id: info.id,
        type: 'message',
        role: 'assistant',
        model: info.served?.model ?? null,
        provider: info.served?.provider ?? null,
        content: blocks.list.map(contentBlock),
        ...stopMembers(stop, closing.finishReason, blocks),
        stop_details: null,
        routing: closing.routing,
      })
      return `${body.slice(0, -1)},"usage":${renderUsage(closing.usage)}}`
    },
  }
}

function contentBlock(block: AnswerBlock): JsonObject {
  switch (block.type) {
    case 'text':
      return { type: 'text', text: block.text, citations: null }
    case 'thinking':
      return { type: 'thinking', thinking: block.text, signature: block.proof }
    case 'redacted_thinking':
      return { type: 'redacted_thinking', data: block.data }
    case 'tool_use': {
      const { id, name } = block.call
      return { type: 'tool_use', id, name, input: toolInput(block.text) }
    }
  }
}
