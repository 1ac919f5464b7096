import { z } from 'zod'
import { type RoutesOptions, registerRoutes } from '../../apps/router/src/http/routes.ts'
import { createServer, DEFAULT_HTTP_BOUNDS } from '../../apps/router/src/http/server.ts'
import { systemSeams } from '../../apps/router/src/seams.ts'

/** What Fastify knows of a route of the router. */
export interface RouteSchemas {
  /** `GET /v1/logs/:id` */
  readonly name: string
  readonly body?: z.ZodType
  readonly querystring?: z.ZodType
}

/** Every route that the router registers on its port, with the schemas that it checks requests by. */
export async function routeSchemas(): Promise<RouteSchemas[]> {
  const silent = () => {}
  const server = createServer({
    bounds: DEFAULT_HTTP_BOUNDS,
    log: { error: silent, warn: silent, info: silent, debug: silent },
    seams: systemSeams,
  })
  const found: RouteSchemas[] = []
  server.addHook('onRoute', ({ method, url, schema }) => {
    if (typeof method === 'string' && method !== 'HEAD' && method !== 'OPTIONS') {
      found.push({ name: `${method} ${url}`, ...zodOf(schema, 'body'), ...zodOf(schema, 'querystring') })
    }
  })
  registerRoutes(server, withNothingBehind())
  await server.ready()
  await server.close()
  return found
}

/** Registration looks at no part of MESH; only a request would, and none comes. */
function withNothingBehind(): RoutesOptions {
  const nothing: unknown = new Proxy(
    {},
    { get: (_, name) => (name === 'then' ? undefined : name === 'hasAdminPort' ? false : nothing) },
  )
  return nothing as RoutesOptions
}

function zodOf(
  schema: { readonly body?: unknown; readonly querystring?: unknown } | undefined,
  part: 'body' | 'querystring',
) {
  const found = schema?.[part]
  return found instanceof z.ZodType ? { [part]: found } : {}
}
