import { admit } from './call/admit.ts'
import { authenticate } from './call/authenticate.ts'
import { createCallReply } from './call/call-reply.ts'
import type { CallRequest } from './call/call-request.ts'
import { end, endWithError } from './call/end.ts'
import type { Mesh } from './call/mesh.ts'
import { parse } from './call/parse.ts'
import { orReject } from './call/rejection.ts'
import { endingOf, runCall, whenMeshEnds } from './call/run-call.ts'
import { settle } from './call/settle.ts'
import { asMeshError } from './http/error-answer.ts'

/**
 * A call, from key to receipt. What fails before its money is set aside is thrown, for the caller to be answered with
 * an error; after that the call is settled exactly once, whatever becomes of it. A settlement that cannot be made is
 * answered here, and thrown too, so that it is told in the log.
 */
export async function call(request: CallRequest, mesh: Mesh): Promise<void> {
  const caller = await authenticate(request, mesh)
  using live = mesh.liveCalls.begin(request.id, caller, request.whenClosed)
  const asked = await orReject(parse(request, caller, mesh), request, caller, mesh)
  const admitted = await orReject(admit(request, asked, caller, mesh), request, caller, mesh, asked)

  const nowSeconds = Math.floor(mesh.seams.now() / 1000)
  const reply = createCallReply(request.shape, request.id, asked.request.ask, nowSeconds)
  whenMeshEnds(live, (ending) => endWithError(request, ending, { reply }))
  const outcome = await runCall(request, admitted, reply, live, mesh)
  const ending = endingOf(outcome, live)
  try {
    const settled = await settle(admitted, outcome, ending, mesh)
    if (ending) endWithError(request, ending, { reply, outcome, settled })
    else end(request, reply, outcome, settled)
  } catch (error) {
    mesh.books.abandon(request.id)
    endWithError(request, asMeshError(error), { reply, outcome })
    throw error
  }
}
