import type { Json, JsonObject } from './ask.ts'
import type { Failure } from './failure.ts'
import type { AnswerBounds, Decoder } from './protocol.ts'
import { sseParser } from './sse.ts'
import type { StreamEvent } from './stream-event.ts'
import { errorMessage } from './upstream-failure.ts'
import { objectOf, parseJson } from './wire-json.ts'

export type Emit = (event: StreamEvent) => void

/** What differs between protocols that answer in server-sent events or in one JSON document. */
export interface AnswerReader {
  /** One message of a stream that is not an error. */
  message(body: JsonObject, emit: Emit): void
  /** `[DONE]`. */
  done(emit: Emit): void
  /** The answer in one piece. */
  document(body: JsonObject, emit: Emit): void
  /** The connection of a stream ended cleanly: for protocols whose streams have no terminal event. */
  closed?(emit: Emit): void
}

/** An answer that broke off or made no sense: the provider may have worked, and may bill for it. */
export function brokenAnswer(reason: Failure['reason']): StreamEvent {
  return { type: 'failure', failure: { outcome: 'uncertain', reason } }
}

/** One choice when the terminal event comes. */
export interface ChoiceAtEnd {
  readonly choice: number
  /** Whether it said why it finished. */
  readonly isFinished: boolean
  readonly callsTools: boolean
}

/**
 * What a terminal event ends: the one rule, in every protocol, for what is a whole answer. Every choice that began
 * must have said why it finished; one that called tools has finished in its calls, without a word. Providers that give
 * up half way close a stream in good order too, so the terminal event alone proves nothing; of the recorded answers
 * that are whole, all have their reasons.
 */
export function endAnswer(choices: readonly ChoiceAtEnd[], emit: Emit): void {
  if (choices.length === 0) emit(brokenAnswer('empty'))
  for (const { choice, isFinished, callsTools } of choices) {
    if (isFinished) continue
    emit(callsTools ? { type: 'finish', choice, reason: 'tool_calls' } : brokenAnswer('stream_cut'))
  }
  emit({ type: 'end' })
}

/** White space that may come before an answer (some keep a slow call open with blank lines), and the byte order mark. */
const WHITE_SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf])

/** A provider that has sent content has worked, whatever it says afterwards. */
function afterContent(failure: Failure): Failure {
  return failure.outcome === 'not_dispatched' ? failure : { ...failure, outcome: 'uncertain' }
}

/**
 * Turns the bytes of an answer into events. What comes is what counts, not what was asked for: a provider that ignores
 * `stream` either way is understood, so the first byte that is not white space decides how the answer is read: a JSON
 * document, the first field or comment of an event stream, or neither (a proxy's HTML page).
 * After `end` or `failure` nothing more comes out.
 */
export function answerDecoder(reader: AnswerReader, bounds: AnswerBounds): Decoder {
  let mode: 'undecided' | 'stream' | 'document' | 'over' = 'undecided'
  let events: StreamEvent[] = []
  let connectionEnded = false
  let messageSeen = false
  let contentSeen = false
  let chunks: Uint8Array[] = []
  let chunkBytes = 0
  const parser = sseParser(bounds.eventCharactersMax)

  const emit: Emit = (event) => {
    if (mode === 'over') return
    if (event.type === 'failure') {
      events.push({ type: 'failure', failure: contentSeen ? afterContent(event.failure) : event.failure })
    } else {
      events.push(event)
    }
    if (event.type === 'failure' || event.type === 'end') {
      mode = 'over'
      chunks = []
    } else if (event.type !== 'usage' && event.type !== 'finish') {
      contentSeen = true
    }
  }

  function takeMessage(name: string, data: string): void {
    if (mode === 'over' || data.trim() === '') return
    messageSeen = true
    if (data === '[DONE]') {
      reader.done(emit)
      return
    }
    const message = parseJson(data)
    if (message === undefined && connectionEnded) return // The last event was cut: the missing end says so.
    take(name, message, reader.message)
  }

  function take(name: string, message: Json | undefined, read: AnswerReader['message']): void {
    const failure = message === undefined ? undefined : errorMessage(name, message)
    const body = objectOf(message)
    if (failure) emit({ type: 'failure', failure })
    else if (body) read(body, emit)
    else emit(brokenAnswer('malformed'))
  }

  function takeDocument(): void {
    const whole = new Uint8Array(chunkBytes)
    let offset = 0
    for (const chunk of chunks) {
      whole.set(chunk, offset)
      offset += chunk.length
    }
    take('', parseJson(new TextDecoder().decode(whole)), reader.document)
    if (mode !== 'over') emit(brokenAnswer('malformed'))
  }

  function takeBytes(bytes: Uint8Array): void {
    if (mode === 'document') {
      chunkBytes += bytes.length
      chunks.push(bytes)
      if (chunkBytes > bounds.documentBytesMax) emit(brokenAnswer('oversized'))
    } else if (parser.push(bytes, takeMessage) === 'oversized') {
      emit(brokenAnswer('oversized'))
    }
  }

  function takeFirstBytes(bytes: Uint8Array): void {
    const start = bytes.findIndex((byte) => !WHITE_SPACE.has(byte))
    if (start === -1) return
    const first = String.fromCharCode(bytes[start] ?? 0)
    if (!'{[:deir'.includes(first)) {
      emit(brokenAnswer('wrong_content_type'))
      return
    }
    mode = first === '{' || first === '[' ? 'document' : 'stream'
    takeBytes(bytes.subarray(start))
  }

  function drain(): readonly StreamEvent[] {
    const drained = events
    events = []
    return drained
  }

  return {
    push(bytes) {
      if (mode === 'undecided') takeFirstBytes(bytes)
      else if (mode !== 'over') takeBytes(bytes)
      return drain()
    },
    end() {
      connectionEnded = true
      if (mode === 'document') takeDocument()
      if (mode === 'stream') parser.end(takeMessage)
      if (mode === 'stream' && messageSeen) reader.closed?.(emit)
      if (!messageSeen && (mode === 'stream' || mode === 'undecided')) emit(brokenAnswer('empty'))
      return drain()
    },
  }
}
