import type { ServerResponse } from 'node:http'
import type { Bytes, Family, Frame } from './family.ts'
import { type Fault, isStriking, type Steering } from './steering.ts'

/** How an answer's delivery ended. */
export type Delivery = 'completed' | 'cancelled' | 'broken_off'

/** What an answer needs while it is on its way. */
export interface Carrier {
  readonly response: ServerResponse
  /** Aborted when the client is gone or the simulator closes. */
  readonly gone: AbortSignal
  pause(delayMs: number): Promise<void>
  /** Resolves when a test releases this answer. */
  held(): Promise<void>
  /** Tells how many output tokens the last step was worth. */
  generated(outputTokens: number): void
}

/** Larger than anybody should take: one event of a stream, and one answer in one piece. */
const OVERSIZED_EVENT_BYTES = 64 * 1024 * 1024
const OVERSIZED_BODY_BYTES = 200 * 1024 * 1024
/** What is oversized or endless goes out in pieces of this size. */
const FILLER = 'x'.repeat(64 * 1024)
const DRIP_MS = 20

export interface StreamPlan {
  readonly frames: Iterable<Frame>
  readonly headers: Readonly<Record<string, string>>
  readonly steering: Steering
  /** Output tokens that show, and those that were spent before anything shows. */
  readonly visibleTokens: number
  readonly hiddenTokens: number
  readonly family: Pick<Family, 'malformedEvent' | 'emptyEvent' | 'oversizedStart'>
  readonly errorEvent: Bytes
}

/** Sends a stream frame by frame and lets a fault strike where it is due. Stops generating when the client is gone. */
export async function deliverStream(plan: StreamPlan, carrier: Carrier): Promise<Delivery> {
  const { response, gone } = carrier
  const { steering } = plan
  let fault = isStriking(steering.fault) ? steering.fault : undefined
  let holdAfter = steering.holdAfterTokens === 0 ? undefined : steering.holdAfterTokens
  const halfWay = plan.hiddenTokens + Math.ceil(plan.visibleTokens / 2)
  let generated = 0
  let contentSeen = false
  response.writeHead(200, { ...plan.headers })
  if (steering.fault?.kind === 'error_first') {
    await write(carrier, plan.errorEvent)
    response.end()
    return 'broken_off'
  }
  for (const frame of plan.frames) {
    if (steering.paceMs > 0) await carrier.pause(steering.paceMs)
    if (gone.aborted) return 'cancelled'
    if (!(await write(carrier, frame.bytes))) return 'cancelled'
    generated += frame.outputTokens
    contentSeen ||= frame.content
    carrier.generated(frame.outputTokens)
    if (holdAfter !== undefined && generated >= holdAfter) {
      holdAfter = undefined
      await carrier.held()
      if (gone.aborted) return 'cancelled'
    }
    if (fault === undefined || !contentSeen || generated < (fault.afterTokens ?? halfWay)) continue
    if (fault.kind !== 'malformed') return await strike(fault.kind, plan, frame, carrier)
    fault = undefined
    await write(carrier, plan.family.malformedEvent)
  }
  response.end()
  return 'completed'
}

async function strike(
  kind: Exclude<Extract<Fault, { readonly afterTokens?: number }>['kind'], 'malformed'>,
  plan: StreamPlan,
  last: Frame,
  carrier: Carrier,
): Promise<Delivery> {
  switch (kind) {
    case 'cut_stream':
      carrier.response.destroy()
      return 'broken_off'
    case 'stall':
      return await silence(carrier)
    case 'early_eof':
      carrier.response.end()
      return 'broken_off'
    case 'error_mid':
      await write(carrier, plan.errorEvent)
      carrier.response.end()
      return 'broken_off'
    case 'endless':
      while (await write(carrier, last.bytes)) carrier.generated(last.outputTokens)
      return 'cancelled'
    case 'drip':
      return await drip(plan.family.emptyEvent, carrier)
    case 'oversized':
      await write(carrier, plan.family.oversizedStart(OVERSIZED_EVENT_BYTES))
      return await fill(OVERSIZED_EVENT_BYTES, carrier)
  }
}

/** Sends next to nothing, again and again, and never comes to an end. */
async function drip(drop: Bytes, carrier: Carrier): Promise<Delivery> {
  while (await write(carrier, drop)) await carrier.pause(DRIP_MS)
  return 'cancelled'
}

/** Sends so many bytes and ends. */
async function fill(bytes: number, carrier: Carrier): Promise<Delivery> {
  for (let sent = 0; sent < bytes; sent += FILLER.length) {
    if (!(await write(carrier, FILLER))) return 'cancelled'
  }
  carrier.response.end()
  return 'broken_off'
}

/** Says nothing more and keeps the connection open until the client goes. */
export async function silence(carrier: Carrier): Promise<'cancelled'> {
  await new Promise<void>((resolve) => {
    if (carrier.gone.aborted) resolve()
    else carrier.gone.addEventListener('abort', () => resolve(), { once: true })
  })
  return 'cancelled'
}

export interface JsonPlan {
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
  readonly steering: Steering
  readonly outputTokens: number
  readonly errorBody: string
}

/** Sends a JSON answer, or the part of it that a fault leaves. */
export async function deliverJson(plan: JsonPlan, carrier: Carrier): Promise<Delivery> {
  const { response } = carrier
  const { fault, paceMs } = plan.steering
  if (paceMs > 0) await carrier.pause(paceMs)
  if (carrier.gone.aborted) return 'cancelled'
  const { body } = plan
  const half = body.slice(0, Math.ceil(body.length / 2))
  const length = { 'content-length': String(Buffer.byteLength(body)) }
  carrier.generated(plan.outputTokens)
  switch (fault?.kind) {
    case 'error_first':
    case 'error_mid':
      response.writeHead(200, { ...plan.headers })
      response.end(plan.errorBody)
      return 'broken_off'
    case 'cut_stream':
      response.writeHead(200, { ...plan.headers, ...length })
      await write(carrier, half)
      response.destroy()
      return 'broken_off'
    case 'stall':
      response.writeHead(200, { ...plan.headers, ...length })
      await write(carrier, half)
      return await silence(carrier)
    case 'early_eof':
      // No length was promised, so the end looks clean and only the JSON tells.
      response.writeHead(200, { ...plan.headers })
      response.end(half)
      return 'broken_off'
    case 'malformed':
      response.writeHead(200, { ...plan.headers })
      response.end(`{,${body.slice(1)}`)
      return 'broken_off'
    case 'endless':
    case 'oversized':
      response.writeHead(200, { ...plan.headers })
      await write(carrier, half)
      return await fill(fault.kind === 'endless' ? Number.POSITIVE_INFINITY : OVERSIZED_BODY_BYTES, carrier)
    case 'drip':
      response.writeHead(200, { ...plan.headers })
      await write(carrier, '{')
      return await drip(' ', carrier)
    default:
      response.writeHead(200, { ...plan.headers, ...length })
      response.end(body)
      return 'completed'
  }
}

/**
 * Writes and waits until the client can take more. Resolves to false when it never will. Each write ends a turn of the
 * event loop, so that a client's departure is seen before the next one.
 */
async function write(carrier: Carrier, bytes: Bytes): Promise<boolean> {
  const { response, gone } = carrier
  if (gone.aborted) return false
  if (response.write(bytes)) {
    await new Promise((resolve) => setImmediate(resolve))
    return !gone.aborted
  }
  return await new Promise<boolean>((resolve) => {
    const done = () => {
      response.off('drain', done)
      gone.removeEventListener('abort', done)
      resolve(!gone.aborted)
    }
    response.on('drain', done)
    gone.addEventListener('abort', done)
  })
}
