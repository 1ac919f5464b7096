import type { FinishReason } from '../../stream-event.ts'
import type { ReplyInfo, StreamReply, WholeReply } from '../reply.ts'
import { addEvent, closeOutput, createOutput, type Tell } from './output.ts'
import { begunResponse, endedResponse, failedResponse, failureMembers, isCut } from './response-object.ts'

/**
 * An answer as the events of a response. They are numbered, and each says where in the output it belongs, so that calls
 * whose arguments come interleaved go out as they come. The terminal event bears the whole response, usage and `routing`:
 * `response.completed`, `response.incomplete` where the answer was cut, or `response.failed`. After that one comes an
 * `error`, at which OpenAI's SDKs throw: many who read them look for what has completed, and for nothing else.
 */
export function createResponseStream(info: ReplyInfo): StreamReply {
  const output = createOutput(info)
  let text = ''
  let number = 0
  let finishReason: FinishReason | undefined

  const tell: Tell = (type, members) => {
    if (number === 0) begin()
    write(type, members)
  }
  const write: Tell = (type, members) => {
    text += `event: ${type}\ndata: {"type":"${type}","sequence_number":${number}${members}}\n\n`
    number += 1
  }
  function begin(): void {
    const response = `,"response":${begunResponse(info)}`
    write('response.created', response)
    write('response.in_progress', response)
  }
  function taken(): string {
    const written = text
    text = ''
    return written
  }

  return {
    event(event) {
      if (event.type === 'finish') finishReason ??= event.reason
      else addEvent(output, event, tell)
      return taken()
    },
    finish(closing) {
      const reason = finishReason ?? closing.finishReason
      closeOutput(output, isCut(reason), tell)
      const status = isCut(reason) ? 'incomplete' : 'completed'
      tell(`response.${status}`, `,"response":${endedResponse(info, output, reason, closing)}`)
      return taken()
    },
    fail(failure) {
      tell('response.failed', `,"response":${failedResponse(info, output, failure)}`)
      tell('error', failureMembers(failure))
      return taken()
    },
  }
}

const untold: Tell = () => undefined

/** An answer as a response in one piece. */
export function createWholeResponse(info: ReplyInfo): WholeReply {
  const output = createOutput(info)
  let finishReason: FinishReason | undefined
  return {
    event(event) {
      if (event.type === 'finish') finishReason ??= event.reason
      else addEvent(output, event, untold)
    },
    finish(closing) {
      const reason = finishReason ?? closing.finishReason
      closeOutput(output, isCut(reason), untold)
      return endedResponse(info, output, reason, closing)
    },
  }
}
