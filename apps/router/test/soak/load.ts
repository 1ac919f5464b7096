import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { numbersFrom, seedOf } from '@mesh/simulator/seed.ts'
import { until } from '../support/until.ts'
import { type Draw, drawCall, drawDenseCall, type OwnWords } from './call-kinds.ts'
import type { Load } from './fault.ts'
import { makeCall, type Seen } from './make-call.ts'
import type { Payer, Payers } from './payers.ts'

/** What one caller saw of one of his calls. */
export interface SeenCall {
  readonly seen: Seen
  readonly payer: Payer
  /** Which router it went to. */
  readonly url: string
}

/** A call under an Idempotency-Key with all its repeats, whose charges are those of one key of its own. */
export interface Repeated {
  readonly payer: Payer
  readonly seen: readonly Seen[]
}

/** All that the callers of a round saw. */
export interface RoundRecord {
  readonly calls: readonly SeenCall[]
  readonly repeated: readonly Repeated[]
  /** Sentences: another caller's words in an answer. */
  readonly foreign: readonly string[]
}

/** Calls that are being made. */
export interface RunningLoad extends Load {
  /** Lets every caller end the call that he makes, and resolves to what all of them saw. */
  end(): Promise<RoundRecord>
}

export interface LoadOptions {
  /** The routers; each caller goes to one of them. */
  readonly urls: readonly string[]
  readonly payers: Payers
  /** The callers, each by the words that only he writes. */
  readonly callers: readonly OwnWords[]
  readonly seed: string
}

/** How long a caller waits who was refused, and who found nobody. */
const PAUSE_MS = 40
const AWAY_PAUSE_MS = 150
const REPEATS_MAX = 4
const PATIENCE_MS = 60_000
const WHOLE_CANARY = /CNRY-[0-9a-f]{24}/g

/** Starts callers who each make one call after the other, evenly over payers and routers. */
export function startLoad({ urls, payers, callers, seed }: LoadOptions): RunningLoad {
  const record = { calls: [] as SeenCall[], repeated: [] as Repeated[], foreign: [] as string[] }
  const others = new Map<string, Map<string, number>>(urls.map((url) => [url, new Map()]))
  const keysOfRepeats = [...payers.ofRepeats]
  let ends = 0
  let isOver = false
  let broken: unknown

  const note = (seen: Seen, payer: Payer, url: string, own: OwnWords): void => {
    if (seen.kind === 'nobody') return
    record.calls.push({ seen, payer, url })
    for (const [canary] of seen.text.matchAll(WHOLE_CANARY)) {
      if (!Object.values(own).includes(canary))
        record.foreign.push(`An answer to ${payer.keyId} holds ${canary}, which is another caller's.`)
    }
    if (seen.kind === 'end') ends++
    else if (seen.kind !== 'left') {
      const word = seen.kind === 'error' ? seen.code : seen.kind
      const words = others.get(url)
      words?.set(word, (words.get(word) ?? 0) + 1)
    }
  }
  const oneCall = async (url: string, payer: Payer, below: Draw, own: OwnWords): Promise<Seen> => {
    const seen = await makeCall(url, payer.secret, (payer.isPoor ? drawDenseCall : drawCall)(below, own))
    note(seen, payer, url, own)
    return seen
  }
  /** One call under a key of its own, repeated until it is answered, and sometimes once more after that. */
  const repeatedCall = async (url: string, payer: Payer, below: Draw, own: OwnWords): Promise<Seen> => {
    const drawn = drawCall(below, own)
    const idempotencyKey = randomUUID()
    const all: Seen[] = []
    record.repeated.push({ payer, seen: all })
    for (let turn = 0; ; turn++) {
      // Who comes back for his answer waits for it.
      const { leavesAfterMs: _, ...patient } = drawn
      const seen = await makeCall(url, payer.secret, turn === 0 ? drawn : patient, idempotencyKey)
      all.push(seen)
      note(seen, payer, url, own)
      const isAnswered =
        seen.kind === 'end' || (seen.kind === 'error' && seen.code !== 'idempotency_in_progress')
      if (isOver || (turn >= REPEATS_MAX && seen.kind !== 'nobody') || (isAnswered && below(2) === 0))
        return seen
      if (!isAnswered) await pause(pauseAfter(seen))
    }
  }
  const call = async (own: OwnWords, number: number): Promise<void> => {
    const below = numbersFrom(seedOf(seed, `caller ${number}`))
    const url = urls[number % urls.length] ?? ''
    // Neighbours go to different routers, and both poor payers meet all routers.
    const payer = payers.all[Math.floor(number / urls.length) % payers.all.length]
    if (payer === undefined) throw new Error('nobody pays')
    while (!isOver) {
      const keyOfRepeats = below(8) === 0 ? keysOfRepeats.pop() : undefined
      const seen = keyOfRepeats
        ? await repeatedCall(url, keyOfRepeats, below, own)
        : await oneCall(url, payer, below, own)
      await pause(pauseAfter(seen))
    }
  }
  const calling = callers.map((own, number) =>
    call(own, number).catch((error: unknown) => {
      broken ??= error
    }),
  )
  return {
    get ends() {
      return ends
    },
    get others() {
      return sumOf([...others.values()])
    },
    othersAt: (url) => others.get(url) ?? new Map(),
    accountIds: payers.all.map(({ accountId }) => accountId),
    async moreEnds(count) {
      const wanted = ends + count
      await until(
        `${count} more answers`,
        () => {
          if (broken !== undefined) throw broken
          return ends >= wanted
        },
        PATIENCE_MS,
      )
    },
    async end() {
      isOver = true
      await Promise.all(calling)
      if (broken !== undefined) throw broken
      return record
    },
  }
}

function pauseAfter({ kind }: Seen): number {
  if (kind === 'end' || kind === 'left') return 0
  return kind === 'nobody' ? AWAY_PAUSE_MS : PAUSE_MS
}

function sumOf(all: readonly ReadonlyMap<string, number>[]): ReadonlyMap<string, number> {
  const sum = new Map<string, number>()
  for (const each of all) for (const [word, count] of each) sum.set(word, (sum.get(word) ?? 0) + count)
  return sum
}
