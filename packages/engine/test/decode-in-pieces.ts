import type { Decoder } from '../src/protocol.ts'
import type { StreamEvent, Vector } from '../src/stream-event.ts'

const encoder = new TextEncoder()

/** Feeds an answer to a decoder, cut at the given places, and returns all that came out. */
export function decodeInPieces(
  decoder: Decoder,
  answer: string | Uint8Array,
  cuts: readonly number[] = [],
): readonly StreamEvent[] {
  const bytes = typeof answer === 'string' ? encoder.encode(answer) : answer
  const places = cuts.map((cut) => Math.abs(cut) % (bytes.length + 1)).sort((a, b) => a - b)
  const events: StreamEvent[] = []
  let start = 0
  for (const place of [...places, bytes.length]) {
    events.push(...decoder.push(bytes.subarray(start, place)))
    start = place
  }
  events.push(...decoder.end())
  return events
}

/** An answer as a reader would put it together from its events. */
export interface GatheredAnswer {
  readonly choices: readonly GatheredChoice[]
  readonly vectors: readonly Vector[]
  readonly scores: readonly { readonly index: number; readonly score: number }[]
  readonly usage: Extract<StreamEvent, { type: 'usage' }>['usage'] | undefined
  readonly failure: Extract<StreamEvent, { type: 'failure' }>['failure'] | undefined
  readonly ended: boolean
}

export interface GatheredChoice {
  text: string
  refusal: string
  reasoning: string
  readonly signatures: string[]
  readonly redacted: string[]
  readonly calls: { id: string; name: string; arguments: string; signature?: string }[]
  finish: string | undefined
}

export function gather(events: readonly StreamEvent[]): GatheredAnswer {
  const choices: GatheredChoice[] = []
  const vectors: Vector[] = []
  const scores: { index: number; score: number }[] = []
  let usage: GatheredAnswer['usage']
  let failure: GatheredAnswer['failure']
  let ended = false
  const at = (index: number): GatheredChoice => {
    while (choices.length <= index) {
      choices.push({
        text: '',
        refusal: '',
        reasoning: '',
        signatures: [],
        redacted: [],
        calls: [],
        finish: undefined,
      })
    }
    const choice = choices[index]
    if (!choice) throw new Error('unreachable: the list was just made long enough')
    return choice
  }
  for (const event of events) {
    if (ended || failure) throw new Error('an event came after the last one')
    switch (event.type) {
      case 'text':
        at(event.choice).text += event.text
        break
      case 'refusal':
        at(event.choice).refusal += event.text
        break
      case 'reasoning':
        at(event.choice).reasoning += event.text
        break
      case 'reasoning-end':
        if (event.signature !== undefined) at(event.choice).signatures.push(event.signature)
        if (event.redacted !== undefined) at(event.choice).redacted.push(event.redacted)
        break
      case 'tool-call': {
        const { calls } = at(event.choice)
        if (event.index !== calls.length) throw new Error('tool calls are not numbered in order')
        const { id, name, signature } = event
        calls.push({ id, name, arguments: '', ...(signature === undefined ? {} : { signature }) })
        break
      }
      case 'tool-arguments': {
        const call = at(event.choice).calls[event.index]
        if (!call) throw new Error('arguments came before their call')
        call.arguments += event.fragment
        break
      }
      case 'vector':
        vectors[event.index] = event.vector
        break
      case 'score':
        scores.push({ index: event.index, score: event.score })
        break
      case 'finish':
        at(event.choice).finish = event.reason
        break
      case 'usage':
        usage = event.usage
        break
      case 'failure':
        failure = event.failure
        break
      case 'end':
        ended = true
    }
  }
  return { choices, vectors, scores, usage, failure, ended }
}
