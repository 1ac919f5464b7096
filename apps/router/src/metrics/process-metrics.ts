import { readdir } from 'node:fs/promises'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { MetricRegistry } from './metric-registry.ts'

const LAG_RESOLUTION_MS = 20
const OWN_DESCRIPTORS = '/proc/self/fd'

/** Shows what the process itself needs: memory, CPU, descriptors, and how late its event loop is. */
export function showProcess(registry: MetricRegistry): Disposable {
  registry.readOne('process_cpu_user_seconds_total', () => process.cpuUsage().user / 1e6)
  registry.readOne('process_cpu_system_seconds_total', () => process.cpuUsage().system / 1e6)
  registry.readOne('process_start_time_seconds', () => performance.timeOrigin / 1000)
  registry.readOne('process_resident_memory_bytes', () => process.memoryUsage.rss())
  registry.readOne('process_open_fds', openDescriptors)
  registry.readOne('nodejs_heap_size_used_bytes', () => process.memoryUsage().heapUsed)
  registry.readOne('nodejs_heap_size_total_bytes', () => process.memoryUsage().heapTotal)
  registry.readOne('nodejs_external_memory_bytes', () => process.memoryUsage().external)
  registry.readOne('nodejs_active_resources', () => process.getActiveResourcesInfo().length)
  registry.readOne(
    'nodejs_eventloop_active_seconds_total',
    () => performance.eventLoopUtilization().active / 1000,
  )

  const lag = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS })
  lag.enable()
  registry.readOne('nodejs_eventloop_lag_p50_seconds', () => seconds(lag.percentile(50)))
  registry.readOne('nodejs_eventloop_lag_p99_seconds', () => seconds(lag.percentile(99)))
  // The last of the three to be read: what comes now is for the next scrape.
  registry.readOne('nodejs_eventloop_lag_max_seconds', () => {
    const longest = seconds(lag.max)
    lag.reset()
    return longest
  })
  return { [Symbol.dispose]: () => void lag.disable() }
}

/** The time between two ticks less the time that was asked for. */
function seconds(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - LAG_RESOLUTION_MS / 1e3)
}

async function openDescriptors(): Promise<number> {
  // The look has a descriptor of its own.
  return await readdir(OWN_DESCRIPTORS).then(
    (names) => names.length - 1,
    () => 0,
  )
}
