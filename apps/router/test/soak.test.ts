import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import type { Fault } from './soak/fault.ts'
import { FAULTS } from './soak/faults.ts'
import { openTheatre, type Theatre } from './soak/rounds.ts'

const SEED = Number(process.env.MESH_TEST_SEED ?? randomInt(2 ** 31))

/** The short set: `npm run soak` has more rounds of each, and faults that take longer. */
const SHORT = FAULTS.filter(({ rounds }) => rounds.test > 0)

/** The faults of one layout share a stage. */
const byLayout = Map.groupBy(SHORT, ({ layout }) => JSON.stringify(layout ?? {}))

for (const faults of byLayout.values()) {
  let opening: Promise<Theatre> | undefined
  const close = async (): Promise<void> => {
    const open = opening
    opening = undefined
    await open?.then((theatre) => theatre.close())
  }
  for (const fault of faults) {
    const isLast = fault === faults.at(-1)
    test(`${fault.name} under load: nothing is lost, charged twice, overspent or leaked`, async (t) => {
      try {
        const reason = await fault.unavailable?.()
        if (reason !== undefined) return t.skip(reason)
        t.diagnostic(`seed ${SEED}: set MESH_TEST_SEED to draw the same calls and instants`)
        opening ??= openTheatre(fault.layout)
        await playRounds(fault, await opening, (text) => t.diagnostic(text))
      } catch (error) {
        // What broke it off may have broken the stage as well.
        await close()
        throw error
      } finally {
        if (isLast) await close()
      }
    })
  }
}

async function playRounds(fault: Fault, theatre: Theatre, tell: (text: string) => void): Promise<void> {
  for (let round = 1; round <= fault.rounds.test; round++) {
    const { others, ...result } = await theatre.play(fault, SEED, round)
    const words = [...others].map(([word, count]) => `${count} ${word}`).join(', ')
    tell(`round ${round}: ${result.calls} calls; ${words}`)
    const sound = { calls: result.calls, lost: 0, double: 0, overspent: 0, leaked: 0, findings: [] }
    assert.deepEqual(result, sound)
  }
}
