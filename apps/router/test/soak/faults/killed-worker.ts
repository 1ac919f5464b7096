import { VARIABLES } from '../../../src/settings.ts'
import { until } from '../../support/until.ts'
import type { Fault } from '../fault.ts'

const WORKERS = 2
const REPLACEMENT_PATIENCE_MS = 30_000

export const killedWorker: Fault = {
  name: 'killed-worker',
  meaning: 'One of two workers of a router is killed with -9, and replaced by the router itself.',
  rounds: { soak: 15, test: 1 },
  layout: { workers: WORKERS },
  async unavailable() {
    const names: readonly string[] = VARIABLES.map(({ name }) => name)
    return names.includes('MESH_WORKERS') ? undefined : 'this router has no workers'
  },
  async strike({ routers: [router], below }) {
    const pids = router?.workerPids() ?? []
    const dying = pids[below(pids.length)]
    if (!router || dying === undefined || pids.length !== WORKERS)
      throw new Error(`there are ${pids.length} workers`)
    process.kill(dying, 'SIGKILL')
    await until(
      'the worker is replaced',
      () => {
        const now = router.workerPids()
        return now.length === WORKERS && !now.includes(dying)
      },
      REPLACEMENT_PATIENCE_MS,
    )
  },
}
