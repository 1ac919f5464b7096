/** The longest text that a pattern is tried on. */
export const TRIED_CHARACTERS_MAX = 40

/**
 * How many steps it may take, as a bound, to try a pattern on a text of `TRIED_CHARACTERS_MAX` characters; infinite
 * where none is known. JavaScript's own engine goes back and tries again: `^(A+)+!$` takes it 2⁴⁰ steps, in which the
 * process does nothing else, so a pattern that somebody sends is not tried before it has been looked at.
 *
 * Without repetition of what repeats, the ways to spread n characters over k repetitions are (n + k) over k; each
 * choice doubles them.
 */
export function patternEffort(pattern: string): number {
  let repetitions = pattern.startsWith('^') ? 0 : 1
  let choices = 0
  for (let at = 0; at < pattern.length; at++) {
    switch (pattern[at]) {
      case '\\': {
        at += 1
        if (/[1-9k]/.test(pattern[at] ?? '')) return Number.POSITIVE_INFINITY
        break
      }
      case '[':
        at = endOfClass(pattern, at)
        break
      case '(':
        if (pattern[at + 1] !== '?') break
        // Looking ahead or behind is beyond what is counted here.
        if (!/^\(\?(?::|<[A-Za-z])/.test(pattern.slice(at, at + 4))) return Number.POSITIVE_INFINITY
        at += 1
        break
      case ')':
        if (/[*+{]/.test(pattern[at + 1] ?? '')) return Number.POSITIVE_INFINITY
        break
      case '|':
      case '?':
        choices += 1
        break
      case '*':
      case '+':
        repetitions += 1
        break
      case '{':
        if (/^\{\d{1,4},/.test(pattern.slice(at, at + 6))) repetitions += 1
    }
  }
  return pattern.length * spreads(repetitions) * 2 ** choices
}

function endOfClass(pattern: string, start: number): number {
  let at = start + 1
  while (at < pattern.length && pattern[at] !== ']') at += pattern[at] === '\\' ? 2 : 1
  return at
}

/** The ways to spread the characters of a text, or fewer, over so many repetitions. */
function spreads(repetitions: number): number {
  let ways = 1
  for (let count = 1; count <= repetitions; count++) ways *= (TRIED_CHARACTERS_MAX + count) / count
  return ways
}
