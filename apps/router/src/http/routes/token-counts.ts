import { usualInputTokens } from '@mesh/engine/input-estimate.ts'
import { messages } from '@mesh/engine/shapes/messages/messages.ts'
import { parseCountedMessages } from '@mesh/engine/shapes/messages/request.ts'
import { presentedSecret } from '../../accounts/authenticate.ts'
import { requireScope } from '../../accounts/principal.ts'
import { requireRequest, resolveTarget } from '../../call/parse.ts'
import type { MeshNow } from '../../mesh-now.ts'
import { readJsonBody, useRawBodies } from '../raw-body.ts'
import type { Server } from '../server.ts'

/**
 * How many tokens a call would have, which costs nothing: nothing is sent to a provider, so it is an estimate, and the
 * answer says so. The body is read after the caller is known, as a call's is.
 */
export function registerTokenCountRoutes(server: Server, meshNow: MeshNow): void {
  server.register((scope, _options, done) => {
    useRawBodies(scope)
    scope.post(`${messages.path}/count_tokens`, async (request) => {
      const mesh = meshNow.current
      const caller = await mesh.authenticator.authenticate(
        presentedSecret(request.headers, messages.keyHeaders),
      )
      requireScope(caller, 'chat')
      const body = await readJsonBody(request, mesh.policy.calls)
      const { route, shape } = requireRequest(
        parseCountedMessages(body, {
          pseudonym: (purpose, text) => mesh.pseudonyms.outward(caller.account.id, purpose, text),
        }),
      )
      for (const name of route.models) resolveTarget(name, messages, mesh)
      return {
        input_tokens: usualInputTokens(shape.inputTokensBound, Number.MAX_SAFE_INTEGER),
        estimated: true,
      }
    })
    done()
  })
}
