import type { StreamEvent } from './stream-event.ts'

/** A piece of text, and nothing beside it. */
type Piece = Extract<StreamEvent, { type: 'text' | 'reasoning' }>

/** The inside of a JSON string that stands for itself: no quotes, no escapes, no control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them inside a string
const PLAIN = /^[^"\\\u0000-\u001f]+$/
/** Stands in for the text when a message is read a second time. */
const PROBE = 'probe'
/** After so many frames in a row that served for nothing, a stream is one whose messages do not repeat. */
const MISSES_MAX = 4

/**
 * Most messages of a stream differ from the one before in their text alone, and parsing them costs more than everything
 * else that is done with them. Such a message is known by what stands before and after its text, character by
 * character, and its text by having no escapes: parsed, it could say nothing else. So the text passes through, and none
 * of the rest of it (ids, fingerprints) is looked at. Any other message is read in full and forgets the frame.
 */
export class RepeatedMessage {
  #piece: Piece | undefined
  #name = ''
  #before = ''
  #after = ''
  #misses = 0

  /** What a message says that repeats the one before; `undefined` where it has to be read in full. */
  read(name: string, data: string): Piece | undefined {
    const piece = this.#piece
    if (!piece || !this.#fits(name, data)) return undefined
    const text = data.slice(this.#before.length, data.length - this.#after.length)
    if (!PLAIN.test(text)) return undefined
    this.#misses = 0
    return { type: piece.type, choice: piece.choice, text }
  }

  /**
   * Takes note of a message that was read in full and said `events`. `readAgain` reads another one like it, and says
   * what that says.
   */
  learn(
    name: string,
    data: string,
    events: readonly StreamEvent[],
    readAgain: (data: string) => readonly StreamEvent[],
  ): void {
    const before = this.#piece
    const piece = onlyPiece(events)
    this.#piece = undefined
    if (!piece || piece.text === PROBE) return
    if (before && isLike(before, piece) && this.#fits(name, data)) {
      // A text with escapes in the same frame.
      this.#piece = before
      return
    }
    if (this.#misses >= MISSES_MAX) return
    this.#misses += 1
    const literal = JSON.stringify(piece.text)
    const at = data.indexOf(literal)
    if (at === -1) return
    this.#name = name
    this.#before = data.slice(0, at + 1)
    this.#after = data.slice(at + literal.length - 1)
    const again = onlyPiece(readAgain(this.#before + PROBE + this.#after))
    if (again && isLike(again, piece) && again.text === PROBE) this.#piece = piece
  }

  #fits(name: string, data: string): boolean {
    return (
      data.length > this.#before.length + this.#after.length &&
      name === this.#name &&
      data.endsWith(this.#after) &&
      // Of a slice, as lines of a stream are, V8 compares one twenty times as fast as it sees what it starts with.
      data.slice(0, this.#before.length) === this.#before
    )
  }
}

function onlyPiece(events: readonly StreamEvent[]): Piece | undefined {
  const [event] = events
  if (events.length !== 1 || (event?.type !== 'text' && event?.type !== 'reasoning')) return undefined
  return 'logprobs' in event ? undefined : event
}

function isLike(one: Piece, other: Piece): boolean {
  return one.type === other.type && one.choice === other.choice
}
