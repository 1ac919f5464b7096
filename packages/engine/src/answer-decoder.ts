import type { Json, JsonObject } from './ask.ts'
import type { Failure } from './failure.ts'
import type { AnswerBounds, Decoder } from './protocol.ts'
import { RepeatedMessage } from './repeated-message.ts'
import { sseParser } from './sse.ts'
import type { StreamEvent } from './stream-event.ts'
import { errorMessage } from './upstream-failure.ts'
import { objectOf, parseJson } from './wire-json.ts'

export type Emit = (event: StreamEvent) => void

/** What differs between protocols that answer in server-sent events or in one JSON document. */
export interface AnswerReader {
  /** One message of a stream that is not an error. `name` is its event's, `''` where it has none. */
  message(body: JsonObject, emit: Emit, name: string): void
  /** `[DONE]`. */
  done(emit: Emit): void
  /**
   * Whether reading a message twice that says a piece of text, and nothing else, leaves the reader as reading it once
   * does: then the next one that differs in its text alone need not be read.
   */
  readonly textRepeats?: boolean
  /** The answer in one piece. */
  document(body: JsonObject, emit: Emit): void
  /** The connection of a stream ended cleanly: for protocols whose streams have no terminal event. */
  closed?(emit: Emit): void
}

/** How the messages of a stream are told apart, and its errors told from them. */
export interface StreamFraming {
  /** Whether an answer that begins with this byte, white space aside, is such a stream. */
  begins(byte: number): boolean
  parser(bounds: AnswerBounds): StreamParser
  /** Reads an error that came in place of a message, or of a document; `undefined` where it is none. */
  failure(name: string, message: Json): Failure | undefined
}

export interface StreamParser {
  /** Takes the next bytes, split anywhere, and hands over the messages that they complete. */
  push(bytes: Uint8Array, take: TakeMessage): 'ok' | 'oversized' | 'malformed'
  /** The connection ended. */
  end(take: TakeMessage): void
}

/** Called with each message's name (`''` where it has none) and text. */
export type TakeMessage = (name: string, data: string) => void

const SERVER_SENT_EVENTS: StreamFraming = {
  // The first letter of a field, or the colon of a comment.
  begins: (byte) => ':deir'.includes(String.fromCharCode(byte)),
  parser: (bounds) => sseParser(bounds.eventCharactersMax),
  failure: errorMessage,
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

const OPENING_BRACE = 0x7b
const OPENING_BRACKET = 0x5b

/** A provider that has sent content has worked, whatever it says afterwards. */
function afterContent(failure: Failure): Failure {
  return failure.outcome === 'not_dispatched' ? failure : { ...failure, outcome: 'uncertain' }
}

/**
 * Turns the bytes of an answer into events. What comes is what counts, not what was asked for: a provider that ignores
 * `stream` either way is understood, so the first byte that is not white space decides how the answer is read: a JSON
 * document, the protocol's kind of stream (server-sent events, unless it says otherwise), or neither (a proxy's HTML
 * page). After `end` or `failure` nothing more comes out.
 */
export function answerDecoder(
  reader: AnswerReader,
  bounds: AnswerBounds,
  framing: StreamFraming = SERVER_SENT_EVENTS,
): Decoder {
  let mode: 'undecided' | 'stream' | 'document' | 'over' = 'undecided'
  let events: StreamEvent[] = []
  let connectionEnded = false
  let messageSeen = false
  let contentSeen = false
  let chunks: Uint8Array[] = []
  let chunkBytes = 0
  const parser = framing.parser(bounds)
  const repeated = reader.textRepeats ? new RepeatedMessage() : undefined

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
    if (mode === 'over') return
    const piece = repeated?.read(name, data)
    if (piece) {
      emit(piece)
      return
    }
    if (data.trim() === '') return
    messageSeen = true
    if (data === '[DONE]') {
      reader.done(emit)
      return
    }
    const message = parseJson(data)
    if (message === undefined && connectionEnded) return // The last event was cut: the missing end says so.
    const eventsBefore = events.length
    take(name, message, reader.message)
    repeated?.learn(name, data, events.slice(eventsBefore), (another) => readAgain(name, another))
  }

  /** What a message says, without saying it. */
  function readAgain(name: string, data: string): readonly StreamEvent[] {
    const said: StreamEvent[] = []
    const body = objectOf(parseJson(data))
    if (body) reader.message(body, (event) => said.push(event), name)
    return said
  }

  function take(name: string, message: Json | undefined, read: AnswerReader['message']): void {
    const failure = message === undefined ? undefined : framing.failure(name, message)
    const body = objectOf(message)
    if (failure) emit({ type: 'failure', failure })
    else if (body) read(body, emit, name)
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
      return
    }
    const parsed = parser.push(bytes, takeMessage)
    if (parsed !== 'ok') emit(brokenAnswer(parsed))
  }

  function takeFirstBytes(bytes: Uint8Array): void {
    const start = bytes.findIndex((byte) => !WHITE_SPACE.has(byte))
    if (start === -1) return
    const first = bytes[start] ?? 0
    if (first === OPENING_BRACE || first === OPENING_BRACKET) mode = 'document'
    else if (framing.begins(first)) mode = 'stream'
    else {
      emit(brokenAnswer('wrong_content_type'))
      return
    }
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
