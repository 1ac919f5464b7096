import { setTimeout as pause } from 'node:timers/promises'
import type { Fault } from '../fault.ts'

/** Kills at any moment of the span; the instant itself is what is drawn. */
const SPAN_MS = 1_200

export const killRouter: Fault = {
  name: 'kill-router',
  meaning: 'The only router is killed with -9 and started again.',
  rounds: { soak: 50, test: 1 },
  async strike({ routers: [router], below }) {
    await pause(below(SPAN_MS))
    await router?.kill()
    await router?.start()
  },
}
