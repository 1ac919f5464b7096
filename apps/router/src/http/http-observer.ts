import type { FastifyInstance } from 'fastify'
import type { ErrorCode } from '../errors.ts'
import type { BodyBudget } from './body-budget.ts'

/** Is told what becomes of requests, whatever their route. It must be quick, and must not throw. */
export interface HttpObserver {
  /** A route is registered under this pattern. */
  route(pattern: string): void
  /** A request was answered, or left by its client. `pattern` is absent where no route takes it. */
  request(pattern: string | undefined, status: number): void
  /** A server reads bodies, and this is what it has of them. */
  bodies(budget: BodyBudget): void
  bodyRefused(code: ErrorCode): void
  slowReaderCut(): void
}

/** What a log shows for a client that left before it was answered; nginx has it so. */
const CLIENT_LEFT = 499

/** Tells of the routes that are registered from here on, and of every request that reaches a server. */
export function tellOfRequests(
  server: Pick<FastifyInstance, 'addHook'>,
  observer: Pick<HttpObserver, 'route' | 'request'>,
): void {
  server.addHook('onRoute', ({ url }) => observer.route(url))
  // Fastify's own hook for answers is not called where the client leaves before the end.
  server.addHook('onRequest', (request, { raw }, done) => {
    raw.once('close', () => {
      observer.request(
        request.is404 ? undefined : request.routeOptions.url,
        raw.headersSent ? raw.statusCode : CLIENT_LEFT,
      )
    })
    done()
  })
}
