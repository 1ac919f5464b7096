import type { Model } from '@mesh/catalog/catalog.ts'
import { CHAT_BOUNDS } from '@mesh/engine/shapes/bounds.ts'
import { chatCompletions } from '@mesh/engine/shapes/chat-completions/chat-completions.ts'
import { faultOfIssue, isObject } from '@mesh/engine/shapes/fault.ts'
import { messages } from '@mesh/engine/shapes/messages/messages.ts'
import { parseCountedMessages } from '@mesh/engine/shapes/messages/request.ts'
import type { ParseOptions, Shape } from '@mesh/engine/shapes/shape.ts'
import { TASK_BOUNDS } from '@mesh/engine/shapes/task-bounds.ts'
import type { FastifyRequest } from 'fastify'
import * as z from 'zod'
import { presentedSecret } from '../../accounts/authenticate.ts'
import { requireScope } from '../../accounts/principal.ts'
import type { Mesh } from '../../call/mesh.ts'
import { noSuchModel, requestError, requireRequest, resolveTarget } from '../../call/parse.ts'
import { MeshError } from '../../errors.ts'
import type { AccountId } from '../../ids.ts'
import type { MeshNow } from '../../mesh-now.ts'
import { countAsk, countTexts, type TokenCount } from '../../tokens/count-tokens.ts'
import type { TokenCounting } from '../../tokens/token-counting.ts'
import { readJsonBody, useRawBodies } from '../raw-body.ts'
import type { Server } from '../server.ts'

/**
 * How many tokens a call would have, or texts have. It asks no provider, costs nothing and leaves nothing behind; the
 * answer says whether it is exact. The body is read after the caller is known, as a call's is.
 */
export function registerTokenCountRoutes(server: Server, meshNow: MeshNow, counting: TokenCounting): void {
  server.register((scope, _options, done) => {
    useRawBodies(scope)
    scope.post(`${messages.path}/count_tokens`, async (request) => {
      const { body, mesh, accountId } = await asked(request, meshNow, messages)
      const { ask, route } = requireRequest(parseCountedMessages(body, NOTHING_LEAVES))
      for (const name of route.models) resolveTarget(name, messages, mesh)
      const model = mesh.models.resolve(route.models[0] ?? '')
      const { inputTokens } = await countAsk(counting, accountId, model, ask)
      return { input_tokens: inputTokens, estimated: true }
    })
    scope.post('/v1/tokens/count', async (request) => {
      const { body, mesh, accountId } = await asked(request, meshNow, chatCompletions)
      const { model, count } = read(body, mesh)
      const { inputTokens, isExact, method } = await count(counting, accountId)
      return { object: 'token_count', model: model.id, input_tokens: inputTokens, exact: isExact, method }
    })
    done()
  })
}

/** A caller's own strings need no stand-ins where none of them leaves. */
const NOTHING_LEAVES: ParseOptions = { pseudonym: () => '' }

async function asked(request: FastifyRequest, meshNow: MeshNow, { keyHeaders }: Pick<Shape, 'keyHeaders'>) {
  const mesh = meshNow.current
  const caller = await mesh.authenticator.authenticate(presentedSecret(request.headers, keyHeaders))
  requireScope(caller, 'chat')
  return { body: await readJsonBody(request, mesh.policy.calls), mesh, accountId: caller.account.id }
}

interface Countable {
  readonly model: Model
  readonly count: (counting: TokenCounting, accountId: AccountId) => Promise<TokenCount>
}

const textsBody = z.object({
  model: z.string().min(1).max(CHAT_BOUNDS.modelCharactersMax),
  input: z.union([z.string(), z.array(z.string()).min(1).max(TASK_BOUNDS.textsMax)]),
})

/** `{model, input}` or, as in a chat completion, `{model, messages, tools?}`. */
function read(body: unknown, mesh: Mesh): Countable {
  const has = (name: string) => isObject(body) && body[name] !== undefined && body[name] !== null
  if (has('input') === has('messages')) {
    const message = 'Send either input, a text or a list of texts, or messages.'
    throw new MeshError('invalid_request', message, { param: 'input' })
  }
  if (has('input')) {
    const parsed = textsBody.safeParse(body)
    if (!parsed.success) throw requestError(faultOfIssue(parsed.error, []))
    const texts = [parsed.data.input].flat()
    const model = modelNamed(parsed.data.model, mesh)
    return { model, count: (counting, accountId) => countTexts(counting, accountId, model, texts) }
  }
  const { ask, route } = requireRequest(chatCompletions.parse(body, NOTHING_LEAVES))
  const model = modelNamed(route.models[0] ?? '', mesh)
  return { model, count: (counting, accountId) => countAsk(counting, accountId, model, ask) }
}

/** Tokens are of one model: a mode or tier, which may choose any, is none. */
function modelNamed(name: string, mesh: Mesh): Model {
  const model = mesh.models.resolve(name)
  if (model) return model
  throw noSuchModel(name, mesh)
}
