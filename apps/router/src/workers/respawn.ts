/** A worker that has served for this long has not failed at its start. */
export const STEADY_MS = 10_000
const FIRST_DELAY_MS = 100
const LONGEST_DELAY_MS = 10_000

/**
 * How long to wait before a worker is replaced: not at all when one dies that was steady, longer with each that was
 * not, and never so long that a machine stays without workers for good.
 * @param quickDeaths How many in a row died before they were steady.
 */
export function respawnDelayMs(quickDeaths: number): number {
  if (quickDeaths === 0) return 0
  return Math.min(FIRST_DELAY_MS * 2 ** (quickDeaths - 1), LONGEST_DELAY_MS)
}
