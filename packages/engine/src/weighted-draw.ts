import { fingerprint } from '@mesh/catalog/fingerprint.ts'

/** The digits of a fingerprint that a double holds exactly: 13 of 4 bits each. */
const FINGERPRINT_DIGITS = 13

/**
 * One contender's draw, of which the highest wins: weighted rendezvous hashing, so the same text (who draws, and for what)
 * draws the same everywhere, each contender wins in proportion to its weight, and one that goes away moves nothing of the
 * others. What differs between contenders must not be the last letters alone: a fingerprint mixes those too little.
 * https://www.snia.org/sites/default/files/SDC15_presentations/dist_sys/Jason_Resch_New_Consistent_Hashings_Rev.pdf
 */
export function weightedDraw(text: string, weight: number): number {
  const digits = fingerprint(text).slice(0, FINGERPRINT_DIGITS)
  const drawn = (Number.parseInt(digits, 16) + 0.5) / 16 ** FINGERPRINT_DIGITS
  return -weight / Math.log(drawn)
}
