import { formatUsd, roundUpToNano } from '@mesh/catalog/money.ts'
import type { Json, JsonObject } from '@mesh/engine/ask.ts'
import { type Candidate, plan } from '@mesh/engine/plan.ts'
import { expectedPrice } from '@mesh/engine/plan-order.ts'
import { classInTheClear } from '@mesh/engine/privacy-class.ts'
import { chatCompletions } from '@mesh/engine/shapes/chat-completions/chat-completions.ts'
import type { Caller } from '../accounts/caller.ts'
import type { CallId } from '../ids.ts'
import { sizeHold } from './hold-size.ts'
import type { Mesh } from './mesh.ts'
import { nothingLeft } from './nothing-left.ts'
import { type Asked, parse } from './parse.ts'
import { planInputFor } from './plan-input.ts'

/**
 * What would become of a call: who would serve it, who would not and why, and what it could cost. Nothing is held,
 * sent or kept. Balance and limits of spending are not looked at: they are what they are when a call is made.
 * @throws MeshError for a request that is none.
 */
export async function dryRun(
  readBody: () => Promise<unknown>,
  caller: Caller,
  mesh: Mesh,
  id: CallId,
): Promise<JsonObject> {
  const body = withMessages(await readBody())
  const shape = { ...chatCompletions, modelKind: kindAsked(body, mesh) }
  const asked = await parse({ shape, readBody: async () => body }, caller, mesh)
  const input = planInputFor(asked, caller, mesh, id)
  const planned = plan(input)
  const { droppedParameters } = asked.request
  const [first] = planned.candidates
  return {
    object: 'route',
    requested: [...planned.targets],
    mode: planned.mode,
    rule: planned.rule,
    snapshot: planned.snapshot,
    selected: first ? { model: first.endpoint.model, provider: first.endpoint.provider } : null,
    candidates: planned.candidates.map((candidate, at) =>
      candidateView(candidate, at + 1, asked, caller, mesh),
    ),
    excluded: planned.excluded.map(({ endpoint, by }) => ({ ...partsOf(endpoint), excluded_by: by })),
    ...costOf(planned.candidates, asked, mesh),
    ...(droppedParameters.length > 0 ? { dropped_params: [...droppedParameters] } : {}),
    ...(first ? {} : { refusal: refusalView(nothingLeft(planned, input)) }),
  }
}

/** What all shapes share is read as a chat call is; a call of another shape has its text elsewhere, or none yet. */
function withMessages(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body) || 'messages' in body) return body
  const { input, ...rest } = body as { readonly input?: unknown }
  const texts = Array.isArray(input) ? input : [input]
  const content = texts.filter((text) => typeof text === 'string').join('\n')
  return { ...rest, messages: [{ role: 'user', content }] }
}

/** Embeddings and rerankers can be asked about too: the first that is named says what kind of call it is. */
function kindAsked(body: unknown, { models }: Mesh): (typeof chatCompletions)['modelKind'] {
  const name = typeof body === 'object' && body !== null ? Reflect.get(body, 'model') : undefined
  return (typeof name === 'string' ? models.resolveTarget(name)?.kind : undefined) ?? 'chat'
}

function candidateView(
  candidate: Candidate,
  rank: number,
  asked: Asked,
  caller: Caller,
  mesh: Mesh,
): JsonObject {
  const { endpoint } = candidate
  return {
    rank,
    model: endpoint.model,
    provider: endpoint.provider,
    privacy_class: classInTheClear(endpoint, caller.livemode),
    expected_cost_usd: expectedCostOf(candidate, asked),
    max_cost_usd: costOf([candidate], asked, mesh).max_cost_usd,
  }
}

/** The hold that would be taken; the most that it could grow to; and what the first candidate would probably cost. */
function costOf(candidates: readonly Candidate[], asked: Asked, mesh: Mesh) {
  const [first] = candidates
  if (!first) return { expected_cost_usd: null, hold_usd: null, max_cost_usd: null }
  const { maxOutputTokens, choices } = asked.request.shape
  const size = sizeHold({ candidates, maxOutputTokens, choices, policy: mesh.policy.holds })
  const withOutput = (tokens: number) =>
    formatUsd(size.inputNano + roundUpToNano(size.outputPicoPerToken * BigInt(tokens)))
  return {
    expected_cost_usd: expectedCostOf(first, asked),
    hold_usd: withOutput(size.outputTokensWanted),
    max_cost_usd: withOutput(size.outputTokensCap),
  }
}

function expectedCostOf({ endpoint, sellPrices }: Candidate, asked: Asked): string {
  return formatUsd(roundUpToNano(expectedPrice(sellPrices, asked.request.shape, endpoint.contextTokens)))
}

/** `mesh/gpt-5.5@openai` in its parts. */
function partsOf(endpoint: string): { readonly model: string; readonly provider: string } {
  const at = endpoint.lastIndexOf('@')
  return { model: endpoint.slice(0, at), provider: endpoint.slice(at + 1) }
}

function refusalView({
  status,
  code,
  message,
}: ReturnType<typeof nothingLeft>): Readonly<Record<string, Json>> {
  return { status, code, message }
}
