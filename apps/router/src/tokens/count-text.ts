/** What a text comes to. */
export interface TextCount {
  readonly tokens: number
  /** Whether every token was counted, and no word was cut that a tokenizer would have left whole. */
  readonly isExact: boolean
}

export interface CountBounds {
  /** Counts the tokens of a text that is short enough for it. */
  readonly count: (text: string) => number
  /** Whether there is time left. Asked between pieces. */
  readonly hasTime: () => boolean
}

/**
 * Tokenizers merge the pairs of a word (a run of letters, of white space, of signs) in a time that grows with the square
 * of its length, so that 160 KB of Chinese without a full stop took four minutes. Longer runs than this are cut, which
 * adds at most a token at each cut.
 */
const RUN_UNITS_MAX = 256
/** About as much is counted at once, so that the time is looked at in between. */
const PIECE_UNITS = 16_384
const RUNS = /[\p{L}\p{M}]+|\s+|[^\s\p{L}\p{N}]+/gu

/**
 * Counts a text in pieces. Where time runs out the rest is estimated from what was counted. Linear in the text's length,
 * whatever it holds.
 */
export function countText(text: string, { count, hasTime }: CountBounds): TextCount {
  let tokens = 0
  let from = 0
  let isExact = true
  for (const to of endsOfPieces(text)) {
    if (!hasTime()) return { tokens: tokens + estimateRest(text, from, tokens), isExact: false }
    tokens += count(text.slice(from, to.at))
    isExact &&= to.isNatural
    from = to.at
  }
  return { tokens, isExact }
}

/** Four characters a token, where nothing was counted yet to go by. */
function estimateRest(text: string, from: number, tokens: number): number {
  const tokensPerUnit = from === 0 ? 0.25 : tokens / from
  return Math.ceil((text.length - from) * tokensPerUnit)
}

interface PieceEnd {
  readonly at: number
  /** Whether no tokenizer would have gone on across it. */
  readonly isNatural: boolean
}

/** Where a text may be cut: before a space behind a word, and within runs that are too long. */
function* endsOfPieces(text: string): Generator<PieceEnd> {
  let start = 0
  for (const match of text.matchAll(RUNS)) {
    const [run] = match
    const end = match.index + run.length
    if (run.startsWith(' ') && match.index - start >= PIECE_UNITS) {
      start = match.index
      yield { at: start, isNatural: true }
    }
    for (let at = match.index; end - at > RUN_UNITS_MAX; ) {
      at += RUN_UNITS_MAX + (isHighSurrogate(text.charCodeAt(at + RUN_UNITS_MAX - 1)) ? 1 : 0)
      start = at
      yield { at, isNatural: false }
    }
  }
  if (text.length > start) yield { at: text.length, isNatural: true }
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}
