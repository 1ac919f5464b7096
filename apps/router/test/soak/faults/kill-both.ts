import { setTimeout as pause } from 'node:timers/promises'
import type { Fault } from '../fault.ts'

const SPAN_MS = 1_000

export const killBoth: Fault = {
  name: 'kill-both',
  meaning: 'Router and PostgreSQL are killed with -9 in the same moment, as when the plug is pulled.',
  rounds: { soak: 50, test: 1 },
  async strike({ routers, server, below }) {
    await pause(below(SPAN_MS))
    await Promise.all([...routers.map((router) => router.kill()), server.kill()])
    await server.start()
    await Promise.all(routers.map((router) => router.start()))
  },
}
