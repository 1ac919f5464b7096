import type { Simulator } from '@mesh/simulator/server.ts'
import { catalogOf } from './catalog.ts'
import { type FirstAccount, makeFirstAccount } from './first-account.ts'
import { newId, type Seams } from './ids.ts'
import type { Log } from './log.ts'
import { prepareMachine } from './machine.ts'
import { reloadedPolicy } from './policy-reload.ts'
import { priceBookOf, publishPrices } from './prices.ts'
import { type Serving, serve } from './serve.ts'
import type { Settings } from './settings.ts'
import { onlyProcess } from './workers/siblings.ts'
import { startWorkers } from './workers/worker-pool.ts'

/** A router that listens, be it one process or several. */
export interface Router {
  readonly url: string
  /** The operators' own port, where there is one. */
  readonly adminUrl?: string
  /** Null where MESH_ADMIN_KEY names the operator key: no file holds one that works then. */
  readonly adminKeyFile: string | null
  /** Made on the very first start of the embedded default, and then only. */
  readonly firstAccount?: FirstAccount
  /**
   * Reads the policy file again and takes what it says, for calls that begin from now on. Resolves to the settings
   * that count from the next start only.
   * @throws StartupError where it is refused, whole: then everything is as it was.
   */
  reload(): Promise<readonly string[]>
  /** Takes no more calls, lets running ones end, settles them, and stops what was started. */
  stop(): Promise<void>
}

export interface RouterOptions {
  readonly settings: Settings
  readonly log: Log
  readonly seams: Seams
  /** Reads the settings once more, for `Router.reload`; without it they stay. */
  readonly readAgain?: () => Settings
  /** Says to whoever starts MESH what is being done. */
  readonly notice: (text: string) => void
  /** The providers that test keys reach. Where it is given its owner stops it; else the router has its own. */
  readonly simulator?: Simulator
}

/**
 * The story of a start: what is done once on this machine, then who serves, here or in workers of its own, and at
 * last the account of a very first start.
 */
export async function startRouter(options: RouterOptions): Promise<Router> {
  const { settings, seams } = options
  const catalog = catalogOf(settings.policy)
  const machine = await prepareMachine({ ...options, catalog })
  let serving: Serving | undefined
  let running = settings
  try {
    const routerId = newId('rtr', seams)
    serving =
      settings.workers === 1
        ? await serve({ ...options, ...machine, catalog, routerId, siblings: onlyProcess() })
        : await startWorkers({ ...options, machine })
    // Last of all: its key is shown once, so a start that fails must not have made it.
    const firstAccount =
      machine.isEmbedded && isLoopback(settings.host)
        ? await makeFirstAccount(machine.database, machine.operator, seams, settings.policy)
        : undefined
    const { url, adminUrl, stop } = serving
    return {
      url,
      ...(adminUrl === undefined ? {} : { adminUrl }),
      adminKeyFile: settings.adminKey ? null : machine.adminKeyFile,
      ...(firstAccount ? { firstAccount } : {}),
      reload: async () => {
        const read = options.readAgain?.() ?? running
        const { policy, fromNextStart } = reloadedPolicy(running.policy, read.policy)
        // Providers that the file adds bring credentials and hosts of their own.
        const { credentials, baseUrls, aws } = read
        const prices = priceBookOf(catalogOf(policy), policy)
        await publishPrices(machine.database, prices)
        running = { ...running, policy, credentials, baseUrls, aws }
        await serving?.change({ settings: running, prices })
        return fromNextStart
      },
      async stop() {
        await stop()
        await machine.close()
      },
    }
  } catch (error) {
    await serving?.stop()
    await machine.close()
    throw error
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host)
}
