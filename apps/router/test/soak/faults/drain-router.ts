import { setTimeout as pause } from 'node:timers/promises'
import type { Fault } from '../fault.ts'

const SPAN_MS = 600

export const drainRouter: Fault = {
  name: 'drain-router',
  meaning: 'The only router gets SIGTERM under load, ends by itself, and is started again.',
  rounds: { soak: 15, test: 1 },
  async strike({ routers: [router], below }) {
    await pause(below(SPAN_MS))
    router?.signal('SIGTERM')
    const ended = await router?.ended
    if (ended?.code !== 0) throw new Error(`a drain ended with ${ended?.code ?? ended?.signal} instead of 0`)
    await router?.start()
  },
}
