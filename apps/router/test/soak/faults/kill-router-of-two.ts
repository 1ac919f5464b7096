import { setTimeout as pause } from 'node:timers/promises'
import type { Fault } from '../fault.ts'

const SPAN_MS = 800
const ENDS_MEANWHILE = 20
/** What the callers of a router may not see because another one died. */
const FAILURES = ['connection', 'storage_unavailable', 'overloaded', 'internal']

export const killRouterOfTwo: Fault = {
  name: 'kill-router-of-two',
  meaning: 'One of two routers is killed with -9; the callers of the other one see nothing of it.',
  rounds: { soak: 50, test: 1 },
  layout: { routers: 2 },
  async strike({ routers, below, load }) {
    const dying = routers[below(routers.length)]
    const other = routers.find((router) => router !== dying)
    if (!dying || !other) throw new Error('there are not two routers')
    await pause(below(SPAN_MS))
    await dying.kill()
    await load.moreEnds(ENDS_MEANWHILE)
    await dying.start()
    const seen = FAILURES.filter((word) => load.othersAt(other.url).has(word))
    if (seen.length > 0) throw new Error(`callers of the router that lives saw ${seen.join(', ')}`)
  },
}
