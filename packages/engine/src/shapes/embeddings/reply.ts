import type { EmbedTask } from '../../ask.ts'
import type { Vector } from '../../stream-event.ts'
import type { ReplyInfo, WholeReply } from '../reply.ts'
import { renderTaskUsage } from '../task-usage.ts'

/** Puts vectors into OpenAI's list, in the order of their inputs and in the encoding that was asked for. */
export function embeddingsReply(info: ReplyInfo): WholeReply {
  const encoding = info.task?.type === 'embed' ? info.task.encoding : 'float'
  const vectors: Vector[] = []
  return {
    event(event) {
      if (event.type === 'vector') vectors[event.index] = event.vector
    },
    finish({ usage, routing }) {
      const data = vectors.map(
        (vector, index) =>
          `{"object":"embedding","index":${index},"embedding":${JSON.stringify(encoded(vector, encoding))}}`,
      )
      const { model = null, provider = null } = info.served ?? {}
      return (
        `{"object":"list","data":[${data.join(',')}],"model":${JSON.stringify(model)},` +
        `"provider":${JSON.stringify(provider)},"usage":${renderTaskUsage(usage)},"routing":${JSON.stringify(routing)}}`
      )
    },
  }
}

/** A vector as it was asked for. What came so is not touched. */
function encoded(vector: Vector, encoding: EmbedTask['encoding']): Vector {
  if (encoding === 'base64') return typeof vector === 'string' ? vector : packed(vector)
  return typeof vector === 'string' ? unpacked(vector) : vector
}

const BYTES_PER_FLOAT = 4
/** `String.fromCharCode` takes so many at a time, whatever the stack. */
const CHARACTERS_AT_ONCE = 8_192

/** 32-bit floats, the lowest byte first, in base64: what OpenAI's clients unpack. */
function packed(vector: readonly number[]): string {
  const view = new DataView(new ArrayBuffer(vector.length * BYTES_PER_FLOAT))
  for (const [at, value] of vector.entries()) view.setFloat32(at * BYTES_PER_FLOAT, value, true)
  const bytes = new Uint8Array(view.buffer)
  let characters = ''
  for (let at = 0; at < bytes.length; at += CHARACTERS_AT_ONCE) {
    characters += String.fromCharCode(...bytes.subarray(at, at + CHARACTERS_AT_ONCE))
  }
  return btoa(characters)
}

function unpacked(base64: string): readonly number[] {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  const view = new DataView(bytes.buffer)
  return Array.from({ length: bytes.length / BYTES_PER_FLOAT }, (_, at) =>
    view.getFloat32(at * BYTES_PER_FLOAT, true),
  )
}
