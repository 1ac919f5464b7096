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

/** What the callers of a round have seen until now. */
class Notes {
  readonly record = { calls: [] as SeenCall[], repeated: [] as Repeated[], foreign: [] as string[] }
  readonly #others = new Map<string, Map<string, number>>()
  ends = 0

  add(seen: Seen, payer: Payer, url: string, own: OwnWords): void {
    if (seen.kind === 'nobody') return
    this.record.calls.push({ seen, payer, url })
    for (const [canary] of seen.text.matchAll(WHOLE_CANARY)) {
      if (!Object.values(own).includes(canary))
        this.record.foreign.push(`An answer to ${payer.keyId} holds ${canary}, which is another caller's.`)
    }
    if (seen.kind === 'end') this.ends++
    else if (seen.kind !== 'left') this.#addOther(url, seen.kind === 'error' ? seen.code : seen.kind)
  }

  othersAt(url: string): ReadonlyMap<string, number> {
    return this.#others.get(url) ?? new Map()
  }

  get others(): ReadonlyMap<string, number> {
    const sum = new Map<string, number>()
    for (const words of this.#others.values()) {
      for (const [word, count] of words) sum.set(word, (sum.get(word) ?? 0) + count)
    }
    return sum
  }

  #addOther(url: string, word: string): void {
    const words = this.#others.get(url) ?? new Map<string, number>()
    this.#others.set(url, words.set(word, (words.get(word) ?? 0) + 1))
  }
}

/** One of the callers of a round. */
interface Caller {
  readonly url: string
  readonly payer: Payer
  readonly own: OwnWords
  readonly below: Draw
}

/** Starts callers who each make one call after the other, evenly over payers and routers. */
export function startLoad({ urls, payers, callers, seed }: LoadOptions): RunningLoad {
  const notes = new Notes()
  const keysOfRepeats = [...payers.ofRepeats]
  let isOver = false
  let broken: unknown

  const keepCalling = async (caller: Caller): Promise<void> => {
    while (!isOver) {
      const keyOfRepeats = caller.below(8) === 0 ? keysOfRepeats.pop() : undefined
      const seen = keyOfRepeats
        ? await callAgainAndAgain({ ...caller, payer: keyOfRepeats }, notes, () => isOver)
        : await callOnce(caller, notes)
      await pause(pauseAfter(seen))
    }
  }
  const calling = callers.map(async (own, number) => {
    // Neighbours go to different routers, and each payer's callers to all of them.
    const url = urls[number % urls.length]
    const payer = payers.all[Math.floor(number / urls.length) % payers.all.length]
    if (url === undefined || payer === undefined)
      throw new Error('there is nobody to call, or nobody who pays')
    const below = numbersFrom(seedOf(seed, `caller ${number}`))
    await keepCalling({ url, payer, own, below }).catch((error: unknown) => {
      broken ??= error
    })
  })
  return {
    get ends() {
      return notes.ends
    },
    get others() {
      return notes.others
    },
    othersAt: (url) => notes.othersAt(url),
    accountIds: payers.all.map(({ accountId }) => accountId),
    async moreEnds(count) {
      const wanted = notes.ends + count
      const isEnough = (): boolean => {
        if (broken !== undefined) throw broken
        return notes.ends >= wanted
      }
      await until(`${count} more answers`, isEnough, PATIENCE_MS)
    },
    async end() {
      isOver = true
      await Promise.all(calling)
      if (broken !== undefined) throw broken
      return notes.record
    },
  }
}

async function callOnce({ url, payer, own, below }: Caller, notes: Notes): Promise<Seen> {
  const drawn = payer.isPoor ? drawDenseCall(below, own) : drawCall(below, own)
  const seen = await makeCall(url, payer.secret, drawn)
  notes.add(seen, payer, url, own)
  return seen
}

/** One call under an Idempotency-Key, repeated until it is answered, and sometimes once more after that. */
async function callAgainAndAgain(
  { url, payer, own, below }: Caller,
  notes: Notes,
  isOver: () => boolean,
): Promise<Seen> {
  const drawn = drawCall(below, own)
  // Who comes back for his answer waits for it.
  const { leavesAfterMs: _, ...patient } = drawn
  const idempotencyKey = randomUUID()
  const all: Seen[] = []
  notes.record.repeated.push({ payer, seen: all })
  for (let turn = 0; ; turn++) {
    const seen = await makeCall(url, payer.secret, turn === 0 ? drawn : patient, idempotencyKey)
    all.push(seen)
    notes.add(seen, payer, url, own)
    const isAnswered =
      seen.kind === 'end' || (seen.kind === 'error' && seen.code !== 'idempotency_in_progress')
    const isTired = turn >= REPEATS_MAX && seen.kind !== 'nobody'
    if (isOver() || isTired || (isAnswered && below(2) === 0)) return seen
    if (!isAnswered) await pause(pauseAfter(seen))
  }
}

function pauseAfter({ kind }: Seen): number {
  if (kind === 'end' || kind === 'left') return 0
  return kind === 'nobody' ? AWAY_PAUSE_MS : PAUSE_MS
}
