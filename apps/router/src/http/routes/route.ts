import { presentedSecret } from '../../accounts/authenticate.ts'
import { requireScope } from '../../accounts/principal.ts'
import { dryRun } from '../../call/dry-run.ts'
import { isId } from '../../ids.ts'
import type { MeshNow } from '../../mesh-now.ts'
import { withinPatience } from '../../storage/patience.ts'
import { readJsonBody, useRawBodies } from '../raw-body.ts'
import type { Server } from '../server.ts'

/** The dry run of a call. Its body is read as a call's is: after the caller is known, and within the same bounds. */
export function registerRouteRoute(server: Server, meshNow: Pick<MeshNow, 'current'>): void {
  server.register((scope, _options, done) => {
    useRawBodies(scope)
    scope.post('/v1/route', async (request, reply) => {
      const mesh = meshNow.current
      const { settleWaitMs, bodyBytesMax, bodyTimeoutMs } = mesh.policy.calls
      const { id } = request
      if (!isId('req', id)) throw new Error('the server made a request id that is none')
      try {
        // No hold will prove memory right, so the key is read anew.
        const reading = mesh.authenticator.authenticate(presentedSecret(request.headers))
        const caller = await withinPatience(reading, settleWaitMs)
        requireScope(caller, 'chat')
        // It counts as a call that runs: planning costs what it costs, whoever pays.
        using _running = mesh.liveCalls.begin(id, caller, () => {})
        const answer = await dryRun(
          () => readJsonBody(request, { bodyBytesMax, bodyTimeoutMs }),
          caller,
          mesh,
          id,
        )
        void reply.header('cache-control', 'no-store')
        return answer
      } finally {
        // What a refused caller still sends is thrown away, so that he gets to read his answer.
        request.raw.resume()
      }
    })
    done()
  })
}
