/** Called with each event's name (`''` where it has none) and its data lines, joined by line feeds. */
export type TakeSseEvent = (name: string, data: string) => void

export interface SseParser {
  /** Takes the next bytes, split anywhere. Returns `oversized` from the first event that is larger than its bound. */
  push(bytes: Uint8Array, take: TakeSseEvent): 'ok' | 'oversized'
  /**
   * The connection ended. An event whose closing blank line never came is handed over all the same: some servers
   * leave it off after the last event, and half an event is no JSON and cannot be mistaken for a whole one.
   */
  end(take: TakeSseEvent): void
}

const LINE_FEED = 10
const SPACE = 32

/**
 * Reads server-sent events as the HTML standard defines them, incrementally: lines end in CR, LF or CRLF, comments
 * and unknown fields are skipped, data lines add up, and multi-byte characters may be cut. Every character is looked at once: the tail of
 * an unfinished line is kept as it is and never searched again.
 */
export function sseParser(eventCharactersMax: number): SseParser {
  const decoder = new TextDecoder()
  let tail = ''
  let afterCarriageReturn = false
  let oversized = false
  let name = ''
  let data: string | undefined
  let eventCharacters = 0

  function takeLine(line: string, take: TakeSseEvent): void {
    if (line === '') {
      dispatch(take)
      return
    }
    if (line.startsWith('data:')) {
      const value = line.slice(line.charCodeAt(5) === SPACE ? 6 : 5)
      data = data === undefined ? value : `${data}\n${value}`
      eventCharacters += line.length
    } else if (line.startsWith('event:')) {
      name = line.slice(line.charCodeAt(6) === SPACE ? 7 : 6)
    }
  }

  function dispatch(take: TakeSseEvent): void {
    if (data !== undefined) take(name, data)
    name = ''
    data = undefined
    eventCharacters = 0
  }

  function takeText(text: string, take: TakeSseEvent): void {
    let start = 0
    if (afterCarriageReturn && text !== '') {
      afterCarriageReturn = false
      if (text.charCodeAt(0) === LINE_FEED) start = 1
    }
    let lineFeed = text.indexOf('\n', start)
    let carriageReturn = text.indexOf('\r', start)
    while (lineFeed !== -1 || carriageReturn !== -1) {
      const endsInReturn = carriageReturn !== -1 && (lineFeed === -1 || carriageReturn < lineFeed)
      const stop = endsInReturn ? carriageReturn : lineFeed
      const line = tail + text.slice(start, stop)
      tail = ''
      start = stop + 1
      if (endsInReturn) {
        if (start === text.length) afterCarriageReturn = true
        else if (text.charCodeAt(start) === LINE_FEED) start += 1
        carriageReturn = text.indexOf('\r', start)
      }
      if (lineFeed !== -1 && lineFeed < start) lineFeed = text.indexOf('\n', start)
      if (line.length + eventCharacters > eventCharactersMax) {
        oversized = true
        return
      }
      takeLine(line, take)
    }
    tail += text.slice(start)
    if (tail.length + eventCharacters > eventCharactersMax) oversized = true
  }

  return {
    push(bytes, take) {
      if (!oversized) takeText(decoder.decode(bytes, { stream: true }), take)
      if (!oversized) return 'ok'
      tail = ''
      data = undefined
      return 'oversized'
    },
    end(take) {
      if (oversized) return
      takeText(decoder.decode(), take)
      if (tail !== '') takeLine(tail, take)
      tail = ''
      dispatch(take)
    },
  }
}
