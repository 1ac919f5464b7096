import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { baseUrlAt, type SimulatedProvider } from './providers.ts'
import { Simulation } from './simulation.ts'
import type { SimulatorStats } from './stats.ts'

export interface SimulatorOptions {
  /** 0, the default, takes any free port. */
  readonly port?: number
  readonly host?: string
  /** Milliseconds since 1970: dates answers and ages the prompt caches. */
  readonly now?: () => number
  /** Runs `task` after `delayMs`; returns a way to call it off. */
  readonly schedule?: (task: () => void, delayMs: number) => () => void
}

export interface Simulator {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string
  /** What stands in for a provider's own base URL, as in `http://127.0.0.1:PORT/openai/v1`. */
  baseUrl(provider: SimulatedProvider): string
  stats(): SimulatorStats
  /** Resolves when the stats satisfy `condition`. It never gives up: a test's own time limit does. */
  until(condition: (stats: SimulatorStats) => boolean): Promise<SimulatorStats>
  /** Lets every answer go on that `hold` has stopped so far; returns how many those were. */
  release(): number
  /** Cuts every connection and resolves when the port is free. */
  close(): Promise<void>
}

/** Starts the provider simulators on a loopback port. Rejects when the port is taken. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const host = options.host ?? '127.0.0.1'
  const simulation = new Simulation(options.now ?? Date.now, options.schedule ?? afterDelay)
  const server = createServer((request, response) => {
    // `serve` ends every request itself; what still escapes is a bug here, and the client sees a cut connection.
    simulation.serve(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    // Not shared with other processes: each worker of a router has simulators of its own.
    server.listen({ port: options.port ?? 0, host, exclusive: true }, () => resolve())
  })
  const url = originOf(server.address())
  return {
    url,
    baseUrl: (provider) => baseUrlAt(url, provider),
    stats: () => simulation.log.stats(),
    until: (condition) => simulation.log.until(condition),
    release: () => simulation.release(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function originOf(address: AddressInfo | string | null): string {
  if (address === null || typeof address === 'string') return ''
  return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`
}

function afterDelay(task: () => void, delayMs: number): () => void {
  const timer = setTimeout(task, delayMs)
  return () => clearTimeout(timer)
}
