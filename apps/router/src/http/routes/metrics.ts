import type { FastifyRequest } from 'fastify'
import { presentedSecret } from '../../accounts/authenticate.ts'
import { parseSecret } from '../../accounts/key-secret.ts'
import type { OperatorMemory } from '../../accounts/operator-memory.ts'
import type { Scrape } from '../../metrics/exposition.ts'
import type { Access } from '../authentication.ts'
import type { Server } from '../server.ts'

export interface MetricsRouteOptions {
  readonly scrape: Scrape
  /** Throws for whoever may not see the metrics; absent where everybody may who reaches the port. */
  readonly authorize?: (request: FastifyRequest) => Promise<void>
}

/** `/metrics` in the text format of Prometheus, or of OpenMetrics. */
export function registerMetricsRoute(server: Server, { scrape, authorize }: MetricsRouteOptions): void {
  server.get('/metrics', authorize ? { onRequest: authorize } : {}, async (request, reply) => {
    const { contentType, body } = await scrape(request.headers.accept)
    void reply.headers({ 'content-type': contentType, 'cache-control': 'no-store' })
    return body
  })
}

/**
 * Lets operators see the metrics, also while the database is away: that is when they look. Everybody else is answered
 * as on any operator route.
 */
export function operatorsOnly(
  access: Access,
  operators: OperatorMemory,
): (request: FastifyRequest) => Promise<void> {
  return async (request) => {
    const secret = presentedSecret(request.headers)
    if (parseSecret(secret.reveal()).kind === 'foreign') await operators.authenticate(secret)
    else await access.requireOperator(request)
  }
}
