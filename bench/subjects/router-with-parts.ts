/**
 * The router without one of its parts, for the bench alone: wired by hand as `serve.ts` does it, from the same modules,
 * with a plain object in place of the part. Prints the line that `npm start -- --quiet` prints.
 */
import { join } from 'node:path'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { createModelIndex } from '@mesh/catalog/lookup.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import { createTransport } from '@mesh/engine/transport.ts'
import { createAuthenticator } from '../../apps/router/src/accounts/authenticate.ts'
import { OperatorMemory } from '../../apps/router/src/accounts/operator-memory.ts'
import { createRevocations } from '../../apps/router/src/accounts/revocations.ts'
import { LiveCalls } from '../../apps/router/src/call/live-calls.ts'
import type { Mesh } from '../../apps/router/src/call/mesh.ts'
import { createPseudonyms } from '../../apps/router/src/call/pseudonyms.ts'
import { RefusalRows } from '../../apps/router/src/call/refusal-rows.ts'
import { liveEngine, providersWithCredentials } from '../../apps/router/src/engines.ts'
import { openPorts } from '../../apps/router/src/http/ports.ts'
import { DEFAULT_HTTP_BOUNDS } from '../../apps/router/src/http/server.ts'
import { newId } from '../../apps/router/src/ids.ts'
import { createIdempotencyClaims } from '../../apps/router/src/ledger/idempotency.ts'
import { createBooks } from '../../apps/router/src/ledger/postgres-books.ts'
import { createLog } from '../../apps/router/src/log.ts'
import { prepareMachine } from '../../apps/router/src/machine.ts'
import { createRouterMetrics } from '../../apps/router/src/metrics/router-metrics.ts'
import { systemSeams } from '../../apps/router/src/seams.ts'
import { homeFile, readSettings } from '../../apps/router/src/settings.ts'
import { VERSION } from '../../apps/router/src/version.ts'
import { isPartName, withoutPart } from './parts-of-mesh.ts'

const part = process.argv[2] ?? ''
if (!isPartName(part)) throw new Error(`there is no part ${part}`)

const catalog = loadCatalog()
const settings = readSettings(process.env, join(import.meta.dirname, '../..'), catalog)
const log = createLog('warn')
const seams = systemSeams
const machine = await prepareMachine({ settings, catalog, log, seams, notice: () => undefined })
const { database, prices, signingKey } = machine
if (part === 'disk') await database.pool.query('alter system set fsync = off')
if (part === 'disk') await database.pool.query('select pg_reload_conf()')

const metrics = createRouterMetrics(catalog, { version: VERSION, priceListId: prices.id })
const books = createBooks({
  database,
  routerId: newId('rtr', seams),
  log,
  holdTtlMs: settings.policy.holds.lifetimeMs,
  ...(part === 'metrics' ? {} : { observer: metrics.books }),
})
await books.start()
const transport = createTransport()
const live = liveEngine(catalog, settings, transport)
const { concurrencyMax } = settings.policy.calls
let url = ''
const whole: Mesh = {
  catalog,
  models: createModelIndex(catalog),
  prices,
  snapshot: {
    id: `${catalog.version}/${prices.id}`,
    catalog,
    sellPrices: prices.sell,
    protocolBuilt: (name) => protocolFor(name) !== undefined,
    takesParameter: (endpoint, name) => protocolFor(endpoint.protocol)?.takes(endpoint, name) ?? false,
    credentials: providersWithCredentials(settings),
    enabledProviders: new Set(catalog.providers.map(({ id }) => id)),
  },
  policy: settings.policy,
  authenticator: createAuthenticator({ database, seams, cachedKeysMax: 100 }),
  books,
  claims: createIdempotencyClaims(database, { patienceMs: settings.policy.calls.settleWaitMs }),
  engines: { live, test: live },
  liveCalls: new LiveCalls({ countMax: concurrencyMax, countPerAccountMax: concurrencyMax }),
  refusalRows: new RefusalRows(seams),
  observer: metrics.calls,
  pseudonyms: createPseudonyms(signingKey.deriveSecret('pseudonyms')),
  issuer: () => url,
  seams,
  log,
}
const mesh = withoutPart(part, whole)
const revocations = createRevocations({ database, path: homeFile(settings, 'revocations'), seams, log })
const operators = new OperatorMemory(database)
await operators.refresh()
const ports = await openPorts({
  settings,
  bounds: DEFAULT_HTTP_BOUNDS,
  routes: {
    mesh,
    database,
    signingKey,
    revocations,
    operators,
    scrape: () => Promise.resolve({ contentType: 'text/plain', body: '' }),
  },
  observer: metrics.http,
  log,
  seams,
})
url = ports.url
process.stdout.write(`${JSON.stringify({ url, adminKeyFile: machine.adminKeyFile })}\n`)

async function stop(): Promise<void> {
  await ports.close()
  await books.close()
  await transport.close()
  await machine.close()
}

process.once('SIGTERM', () => {
  void stop().finally(() => process.exit(0))
})
