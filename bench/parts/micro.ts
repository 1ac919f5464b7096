import type { ModelId } from '@mesh/catalog/catalog.ts'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { createModelIndex } from '@mesh/catalog/lookup.ts'
import { inputTokensMax } from '@mesh/engine/input-bound.ts'
import { Meter } from '@mesh/engine/meter.ts'
import { type Candidate, type Plan, plan } from '@mesh/engine/plan.ts'
import { createPlanSnapshot } from '@mesh/engine/plan-snapshot.ts'
import { DEFAULT_ANSWER_BOUNDS } from '@mesh/engine/protocol.ts'
import { openaiChat } from '@mesh/engine/protocols/openai-chat.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import { createStreamReply } from '@mesh/engine/shapes/chat-completions/reply-stream.ts'
import { parseChatCompletion } from '@mesh/engine/shapes/chat-completions/request.ts'
import { createMessageStream } from '@mesh/engine/shapes/messages/reply-stream.ts'
import type { ReplyInfo, StreamReply } from '@mesh/engine/shapes/reply.ts'
import { createResponseStream } from '@mesh/engine/shapes/responses/reply.ts'
import type { CallerRequest } from '@mesh/engine/shapes/shape.ts'
import { policySchema } from '../../apps/router/src/policy.ts'
import { priceBookOf } from '../../apps/router/src/prices.ts'
import { median } from '../load/load.ts'
import type { Part } from '../part.ts'
import { JSON_ANSWER, requestBody, STREAM_ANSWER, TEXT_CHUNK } from '../work.ts'

const BATCHES = 30
const BATCH_MS = 20

/** The pure steps of a call, each alone on this process's own thread. */
export const micro: Part = {
  name: 'micro',
  meaning: 'planning, parsing, encoding and decoding, each alone',
  async run() {
    const catalog = loadCatalog()
    const models = createModelIndex(catalog)
    const prices = priceBookOf(catalog, policySchema.parse({})).standard
    const snapshot = createPlanSnapshot({
      id: 'bench',
      catalog,
      sellPrices: prices.sell,
      protocolBuilt: (name) => protocolFor(name) !== undefined,
      takesParameter: (endpoint, name) => protocolFor(endpoint.protocol)?.takes(endpoint, name) ?? false,
      credentials: new Set(catalog.providers.map(({ id }) => id)),
      enabledProviders: new Set(catalog.providers.map(({ id }) => id)),
      preferences: new Map(),
      health: new Map(),
    })
    const body: unknown = JSON.parse(requestBody('json'))
    const request = parsed(body)
    const planOf = (asked: readonly ModelId[]): Plan =>
      plan({
        targets: asked,
        shape: request.shape,
        route: request.route,
        policy: { livemode: true, minimumPrivacyClass: 'standard' },
        snapshot,
        spreadKey: 'bench',
        inputTokensMax,
      })
    const all = catalog.models.map(({ id }) => id)
    const one = models.resolve(request.route.models[0] ?? '')
    if (!one) throw new Error('the catalogue has no model of the bench')
    const [candidate] = planOf([one.id]).candidates
    if (!candidate) throw new Error('nobody can serve the model of the bench')
    const document = Buffer.from(JSON_ANSWER)
    const stream = Buffer.from(STREAM_ANSWER)
    const chunks = STREAM_ANSWER.split('\n\n').length - 1
    const longStream = Buffer.from(TEXT_CHUNK)
    const decoding = openaiChat.decoder(DEFAULT_ANSWER_BOUNDS)
    const planAllUs = microseconds(() => planOf(all))
    const rows: readonly (readonly [string, number])[] = [
      [`plan, all ${all.length} models asked for`, planAllUs],
      ['plan, one model', microseconds(() => planOf([one.id]))],
      ['plan, mesh/cheapest', microseconds(() => planOf(['mesh/cheapest']))],
      ['parse a request of 0.8 KB (schema and all)', microseconds(() => parsed(body))],
      [
        'encode it',
        microseconds(() => openaiChat.encode(request.ask, candidate.endpoint, { stream: false })),
      ],
      [
        'decode an answer of 0.7 KB',
        microseconds(() => {
          const decoder = openaiChat.decoder(DEFAULT_ANSWER_BOUNDS)
          return decoder.push(document).length + decoder.end().length
        }),
      ],
      [
        `decode a stream of ${chunks} chunks`,
        microseconds(() => openaiChat.decoder(DEFAULT_ANSWER_BOUNDS).push(stream)),
      ],
      ['decode one chunk of a stream', microseconds(() => decoding.push(longStream))],
      ['take a chunk through, chat to chat', microseconds(throughTo(candidate, createStreamReply))],
      ['take a chunk through, chat to messages', microseconds(throughTo(candidate, createMessageStream))],
      ['take a chunk through, chat to Responses', microseconds(throughTo(candidate, createResponseStream))],
    ]
    const title = 'One step alone, microseconds'
    return {
      tables: [{ title, columns: ['', 'µs'], rows: rows.map(([name, us]) => [name, us.toFixed(2)]) }],
      figures: { planAllUs },
      notes: [],
    }
  },
}

/** Decodes, counts and renders one chunk of a stream, in the shape of a reply. */
function throughTo(candidate: Candidate, createReply: (info: ReplyInfo) => StreamReply): () => string {
  const decoder = openaiChat.decoder(DEFAULT_ANSWER_BOUNDS)
  const meter = new Meter({
    candidate,
    input: { usual: 100, fewest: 0, surprising: Number.POSITIVE_INFINITY },
    choices: 1,
    thinksUnseen: false,
    startedAtMs: 0,
  })
  const reply = createReply({
    id: 'req_01k9zzzzzzzzzzzzzzzzzzzzzz',
    createdSeconds: 1_763_000_000,
    served: { model: 'mesh/gpt-4.1', provider: 'openai', protocol: 'openai_chat' },
    usageChunk: false,
    excludeReasoning: false,
  })
  const bytes = Buffer.from(TEXT_CHUNK)
  return () => {
    let text = ''
    for (const event of decoder.push(bytes)) {
      meter.count(event, 1)
      text += reply.event(event)
    }
    return text
  }
}

function parsed(body: unknown): CallerRequest {
  const result = parseChatCompletion(body, { pseudonym: (_purpose, text) => text })
  if (!result.ok) throw new Error('the request of the bench is refused')
  return result.request
}

/** The median of several batches of a step, in microseconds a step. */
function microseconds(step: () => unknown): number {
  let times = 1
  const batch = (): number => {
    const startedAtMs = performance.now()
    for (let time = 0; time < times; time++) step()
    return performance.now() - startedAtMs
  }
  for (let took = batch(); took < BATCH_MS; took = batch()) times *= 2
  return (median(Array.from({ length: BATCHES }, batch)) * 1_000) / times
}
