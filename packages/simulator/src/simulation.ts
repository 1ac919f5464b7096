import type { IncomingMessage, ServerResponse } from 'node:http'
import { composeAnswer } from './answer.ts'
import { anthropicMessages } from './anthropic-messages/family.ts'
import { bedrockConverse } from './bedrock-converse/family.ts'
import { cohere } from './cohere/family.ts'
import { type Carrier, deliverJson, deliverStream, silence } from './delivery.ts'
import {
  type Computed,
  type Exchange,
  type Family,
  type ReadRequest,
  type Reply,
  usageToReport,
} from './family.ts'
import { gemini } from './gemini/family.ts'
import { type Json, parseJson } from './json.ts'
import { openAiChat } from './openai-chat/family.ts'
import { PromptCache, totalTokens } from './prompt-cache.ts'
import { routeOf, type SimulatedProvider, simulatedProviders } from './providers.ts'
import { idFrom, seedOf } from './seed.ts'
import { RequestLog } from './stats.ts'
import { parseSteering, type Steering } from './steering.ts'

/** The header by which a request steers its own answer. */
const steeringHeader = 'x-mesh-simulate'

/** The same as the vendors' own bound on a request: 32 MB. */
const bodyBytesMax = 32 * 1024 * 1024

const families: ReadonlyMap<SimulatedProvider, Family> = new Map(
  simulatedProviders.map((provider) => [provider, familyOf(provider)]),
)

function familyOf(provider: SimulatedProvider): Family {
  switch (provider) {
    case 'anthropic':
      return anthropicMessages
    case 'cohere':
      return cohere
    case 'google':
      return gemini
    case 'amazon-bedrock':
      return bedrockConverse
    default:
      return openAiChat(provider)
  }
}

const NO_CACHE = { read: 0, write5m: 0, write1h: 0 } as const

type Understood = Extract<ReadRequest, { readonly kind: 'understood' }>

/** One request on its way through the simulator. */
interface Visit {
  readonly requestId: string
  readonly provider: SimulatedProvider
  readonly family: Family
  readonly response: ServerResponse
  readonly gone: AbortSignal
}

/** The simulated providers behind one server: what they share, and the way of a request through them. */
export class Simulation {
  readonly log = new RequestLog()
  readonly #cache: PromptCache
  readonly #now: () => number
  readonly #schedule: (task: () => void, delayMs: number) => () => void
  readonly #held = new Set<() => void>()
  #serial = 0

  constructor(now: () => number, schedule: (task: () => void, delayMs: number) => () => void) {
    this.#cache = new PromptCache(now)
    this.#now = now
    this.#schedule = schedule
  }

  release(): number {
    const waiting = [...this.#held]
    this.#held.clear()
    for (const goOn of waiting) goOn()
    return waiting.length
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const route = routeOf(request.url ?? '')
    const departure = new AbortController()
    response.on('close', () => departure.abort())
    // A client that leaves while its body is read raises this too; `close` tells it all.
    request.on('error', () => departure.abort())
    if (route.kind === 'no_such_provider') {
      request.resume()
      reply(response, { status: 404, headers: { 'content-type': 'text/plain' }, body: 'no such provider' })
      return
    }
    const { provider } = route
    const family = families.get(provider) ?? anthropicMessages
    this.#serial += 1
    const requestId = `req_${idFrom(seedOf(String(this.#serial)), 'request', 24)}`
    const visit: Visit = { requestId, provider, family, response, gone: departure.signal }
    this.log.open(requestId, provider)
    const body = await readBody(request)
    if (body === 'gone') return this.log.end(requestId, 'cancelled')
    if (route.kind === 'no_such_route' || request.method !== 'POST') {
      const path = (request.url ?? '').split('?', 1)[0] ?? ''
      return this.#refuse(visit, family.refusal('no_such_route', requestId, `${request.method} ${path}`))
    }
    const uncredited = family.credentialRefusal(request.headers, requestId)
    if (uncredited !== undefined) return this.#refuse(visit, uncredited)
    if (body === 'too_large') return this.#refuse(visit, family.refusal('too_large', requestId, ''))
    await this.#answer({ ...visit, path: route.path }, request, body)
  }

  async #answer(
    visit: Visit & { readonly path: string },
    request: IncomingMessage,
    text: string,
  ): Promise<void> {
    const { family, requestId, path } = visit
    const json = parseJson(text)
    if (json === undefined) return this.#refuse(visit, family.refusal('bad_json', requestId, ''))
    const header = request.headers[steeringHeader]
    const parsed = parseSteering(typeof header === 'string' ? header : '', visit.provider)
    if (!parsed.ok) return this.#refuse(visit, family.refusal('bad_steering', requestId, parsed.message))
    const { steering } = parsed
    const carrier = this.#carrier(visit)
    if (steering.holdAfterTokens === 0) await carrier.held()
    if (visit.gone.aborted) return this.log.end(requestId, 'cancelled')
    if (await this.#strikeFirst(visit, steering, carrier)) return
    const read = family.read(json, request.headers, requestId, path)
    if (read.kind === 'refused') return this.#refuse(visit, read.reply)
    if (read.kind === 'computed') return this.#deliverComputed(visit, read, steering, carrier)
    await this.#deliver(visit, read, this.#exchange(visit, read, json, steering), steering, carrier)
  }

  /** The faults that come instead of an answer. Resolves to whether one did. */
  async #strikeFirst(visit: Visit, steering: Steering, carrier: Carrier): Promise<boolean> {
    const kind = steering.fault?.kind
    switch (kind) {
      case 'rate_limit':
      case 'overloaded':
      case 'server_error':
        this.#refuse(visit, visit.family.refusal(kind, visit.requestId, ''))
        return true
      case 'content_filter': {
        const filtered = visit.family.filteredPrompt?.(visit.requestId)
        if (filtered !== undefined) this.#refuse(visit, filtered)
        return filtered !== undefined
      }
      case 'timeout':
        this.log.end(visit.requestId, await silence(carrier))
        return true
      case 'html':
        reply(visit.response, { status: 200, headers: { 'content-type': 'text/html' }, body: htmlPage })
        this.log.end(visit.requestId, 'broken_off')
        return true
      case 'redirect':
        reply(visit.response, { status: 307, headers: { location: elsewhere }, body: '' })
        this.log.end(visit.requestId, 'broken_off')
        return true
      default:
        return false
    }
  }

  #exchange(visit: Visit, read: Understood, json: Json, steering: Steering): Exchange {
    const { prompt } = read
    const seed = seedOf(prompt.model, JSON.stringify(json))
    const answers = Array.from({ length: prompt.choices }, (_, choice) =>
      composeAnswer(prompt, steering, seedOf(seed, String(choice))),
    )
    const usage = usageToReport(
      {
        inputTokens: totalTokens(prompt.parts),
        cache: read.useCache(this.#cache),
        outputTokens: answers.reduce((sum, answer) => sum + answer.outputTokens, 0),
        reasoningTokens: answers.reduce((sum, answer) => sum + answer.reasoningTokens, 0),
      },
      steering.lyingUsage,
    )
    const common = { requestId: visit.requestId, seed, createdMs: this.#now(), prompt, answers }
    return usage === undefined ? common : { ...common, usage }
  }

  async #deliver(
    visit: Visit,
    read: Understood,
    exchange: Exchange,
    steering: Steering,
    carrier: Carrier,
  ): Promise<void> {
    const { family, requestId } = visit
    const { prompt, answers } = exchange
    const { model, stream } = prompt
    this.log.change(requestId, { model, stream, inputTokens: totalTokens(prompt.parts) })
    const outputTokens = answers.reduce((sum, answer) => sum + answer.outputTokens, 0)
    const errorEvent = read.render.errorEvent(exchange)
    if (!stream) {
      const errorBody = family.refusal('server_error', requestId, '').body
      const headers = family.jsonHeaders(requestId)
      const body = read.render.json(exchange)
      return this.log.end(
        requestId,
        await deliverJson({ body, headers, steering, outputTokens, errorBody }, carrier),
      )
    }
    const frames = read.render.frames(exchange)
    const hiddenTokens = read.hidesReasoning
      ? answers.reduce((sum, answer) => sum + answer.reasoningTokens, 0)
      : 0
    const delivery = await deliverStream(
      {
        frames,
        headers: family.streamHeaders(requestId),
        steering,
        hiddenTokens,
        visibleTokens: outputTokens - hiddenTokens,
        family,
        errorEvent,
      },
      carrier,
    )
    this.log.end(requestId, delivery)
  }

  async #deliverComputed(visit: Visit, read: Computed, steering: Steering, carrier: Carrier): Promise<void> {
    const { family, requestId } = visit
    const { model, inputTokens } = read
    this.log.change(requestId, { model, inputTokens })
    const usage = { inputTokens, cache: NO_CACHE, outputTokens: 0, reasoningTokens: 0 }
    const plan = {
      body: read.json(usageToReport(usage, steering.lyingUsage), steering.fault?.kind === 'empty'),
      headers: family.jsonHeaders(requestId),
      steering,
      outputTokens: 0,
      errorBody: family.refusal('server_error', requestId, '').body,
    }
    this.log.end(requestId, await deliverJson(plan, carrier))
  }

  #carrier(visit: Visit): Carrier {
    const { requestId, response, gone } = visit
    let outputTokens = 0
    return {
      response,
      gone,
      pause: (delayMs) => whileThere(gone, (goOn) => this.#schedule(goOn, delayMs)),
      held: async () => {
        this.log.change(requestId, { held: true })
        await whileThere(gone, (goOn) => {
          this.#held.add(goOn)
          return () => this.#held.delete(goOn)
        })
        this.log.change(requestId, { held: false })
      },
      generated: (tokens) => {
        outputTokens += tokens
        if (tokens > 0) this.log.change(requestId, { outputTokens })
      },
    }
  }

  #refuse(visit: Visit, answer: Reply): void {
    reply(visit.response, answer)
    this.log.end(visit.requestId, 'refused')
  }
}

/** Waits for `start` to call back, or for the client to go, whichever comes first. */
function whileThere(gone: AbortSignal, start: (goOn: () => void) => () => void): Promise<void> {
  if (gone.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const finish = () => {
      gone.removeEventListener('abort', callOff)
      resolve()
    }
    const stop = start(finish)
    const callOff = () => {
      stop()
      resolve()
    }
    gone.addEventListener('abort', callOff, { once: true })
  })
}

function reply(response: ServerResponse, answer: Reply): void {
  response.writeHead(answer.status, {
    ...answer.headers,
    'content-length': String(Buffer.byteLength(answer.body)),
  })
  response.end(answer.body)
}

async function readBody(request: IncomingMessage): Promise<string | 'too_large' | 'gone'> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of request) {
      bytes += chunk.length
      // The rest is read and thrown away: an answer to a half-sent body would be lost in a reset.
      if (bytes <= bodyBytesMax) chunks.push(chunk)
    }
  } catch {
    return 'gone'
  }
  return bytes > bodyBytesMax ? 'too_large' : Buffer.concat(chunks).toString()
}

/** Loopback, and a port that nobody listens on: whoever follows is refused. */
const elsewhere = 'http://127.0.0.1:1/elsewhere'

const htmlPage =
  '<!DOCTYPE html><html><head><title>Just a moment...</title></head><body><h1>Checking your browser</h1></body></html>\n'
