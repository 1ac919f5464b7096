import type { Fault } from '../fault.ts'

const ENDS = 60

/** The control: what the table says without a fault. */
export const none: Fault = {
  name: 'none',
  meaning: 'Nothing breaks.',
  rounds: { soak: 5, test: 1 },
  strike: ({ load }) => load.moreEnds(ENDS),
}
