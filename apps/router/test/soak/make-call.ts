import { parseUsd } from '@mesh/catalog/money.ts'
import { z } from 'zod'
import { STREAM_END, streamPayloads } from '../support/chat-stream.ts'
import type { DrawnCall } from './call-kinds.ts'

/** What a caller saw of one call. Amounts are nano-USD. */
export type Seen =
  /** A whole answer, with its cost. */
  | { readonly kind: 'end'; readonly callId: string; readonly totalNano: bigint; readonly text: string }
  /** An error, instead of an answer or at the end of one that had begun, and what it said about the cost. */
  | {
      readonly kind: 'error'
      readonly code: string
      readonly callId: string | undefined
      readonly hadBegun: boolean
      readonly totalNano: bigint | undefined
      readonly receiptId: string | undefined
      readonly text: string
    }
  /**
   * Nobody listened, or the connection broke, or it ended cleanly in the middle, or nothing came for longer than any
   * call may take.
   */
  | {
      readonly kind: 'nobody' | 'connection' | 'ended early' | 'no end'
      readonly callId: string | undefined
      readonly text: string
    }
  /** The caller left. */
  | { readonly kind: 'left'; readonly callId: string | undefined; readonly text: string }

/** A call takes its deadline at most, and a database that is away at the end; whoever waits longer waits in vain. */
const PATIENCE_MS = 60_000

const usage = z.object({ cost: z.number(), cost_details: z.object({ total: z.string() }) })
/** What an answer says: as `message` of a whole one, as `delta` of a streamed one. */
const said = z.object({
  content: z.string().nullish(),
  tool_calls: z.array(z.object({ function: z.object({ arguments: z.string().optional() }) })).nullish(),
})
const whole = z.object({ id: z.string(), usage, choices: z.array(z.object({ message: said })) })
/** An error in a stream has the cost of what came; one of a repeat has what the first call cost. */
const failure = z.object({
  code: z.string(),
  metadata: z
    .object({ usage: usage.optional(), receiptId: z.string().nullish(), totalUsd: z.string().optional() })
    .optional(),
})
const chunk = z.object({
  usage: usage.nullish(),
  choices: z.array(z.object({ delta: said })).optional(),
  error: failure.optional(),
})

/** Makes one call and says what its caller saw. Rejects only where an answer is not of the form that the API has. */
export async function makeCall(
  url: string,
  secret: string,
  call: DrawnCall,
  idempotencyKey?: string,
): Promise<Seen> {
  const leaving = new AbortController()
  const given = { up: false, left: false }
  const patience = setTimeout(() => {
    given.up = true
    leaving.abort()
  }, PATIENCE_MS)
  const departure =
    call.leavesAfterMs === undefined
      ? undefined
      : setTimeout(() => {
          given.left = true
          leaving.abort()
        }, call.leavesAfterMs)
  const so: SoFar = { callId: undefined, text: '' }
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${secret}`,
        'content-type': 'application/json',
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      },
      body: JSON.stringify(call.body),
      signal: leaving.signal,
    })
    so.callId = response.headers.get('x-request-id') ?? undefined
    if (response.status !== 200) return refused(await response.text(), so)
    if (!call.stream) return wholeAnswer(await response.text())
    return await readStream(response, so)
  } catch (error) {
    if (given.left) return { kind: 'left', ...so }
    if (given.up) return { kind: 'no end', ...so }
    // What a broken connection is told as; anything else is a fault of the reader or of an answer.
    if (error instanceof TypeError) return { kind: isRefused(error) ? 'nobody' : 'connection', ...so }
    throw error
  } finally {
    clearTimeout(patience)
    clearTimeout(departure)
  }
}

function isRefused({ cause }: TypeError): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ECONNREFUSED'
}

interface SoFar {
  callId: string | undefined
  text: string
}

function wholeAnswer(body: string): Seen {
  const { id, usage, choices } = whole.parse(JSON.parse(body))
  return {
    kind: 'end',
    callId: id,
    totalNano: nanoOf(usage),
    text: choices.map(({ message }) => textOf(message)).join(''),
  }
}

function refused(body: string, { callId }: SoFar): Seen {
  const { error } = z.object({ error: failure }).parse(JSON.parse(body))
  return failed(error, { callId, text: body }, false)
}

async function readStream(response: Response, so: SoFar): Promise<Seen> {
  let totalNano: bigint | undefined
  for await (const payload of streamPayloads(response)) {
    if (payload === STREAM_END) {
      if (so.callId === undefined || totalNano === undefined) throw new Error('an end without its cost')
      return { kind: 'end', callId: so.callId, totalNano, text: so.text }
    }
    const { usage, choices, error } = chunk.parse(JSON.parse(payload))
    if (usage) totalNano = nanoOf(usage)
    so.text += choices?.map(({ delta }) => textOf(delta)).join('') ?? ''
    if (error) return failed(error, { ...so, text: so.text + payload }, true)
  }
  return { kind: 'ended early', ...so }
}

function failed({ code, metadata }: z.infer<typeof failure>, so: SoFar, hadBegun: boolean): Seen {
  const { usage, totalUsd, receiptId } = metadata ?? {}
  return {
    kind: 'error',
    code,
    ...so,
    hadBegun,
    totalNano: usage ? nanoOf(usage) : totalUsd === undefined ? undefined : parseUsd(totalUsd),
    receiptId: receiptId ?? undefined,
  }
}

function textOf({ content, tool_calls }: z.infer<typeof said>): string {
  return `${content ?? ''}${tool_calls?.map((call) => call.function.arguments ?? '').join('') ?? ''}`
}

/** `cost` is the same amount as a number, for clients that know no other. */
function nanoOf({ cost, cost_details }: z.infer<typeof usage>): bigint {
  const total = parseUsd(cost_details.total)
  if (total === undefined || BigInt(Math.round(cost * 1e9)) !== total)
    throw new Error('two costs of one call')
  return total
}
