import type { CallId } from '../../src/ids.ts'
import type { HoldRequest, Payer } from '../../src/ledger/books.ts'
import type { Limits } from './books-fixture.ts'

/** What was counted at one moment for one call. */
interface Counted {
  readonly callId: CallId
  readonly at: Date
  /** Whether it is the hold itself, which a settlement corrects, or something added later. */
  readonly isHold: boolean
  requests: number
  tokens: number
  nano: bigint
}

export interface ModelCall {
  readonly request: HoldRequest
  readonly heldAt: Date
  state: 'held' | 'reaped' | 'settled'
  heldNano: bigint
  outputTokens: number
  totalNano: bigint
}

/** A subject's counters as the table has them. */
export interface ModelCounters {
  readonly minute: readonly [start: string, requests: number, tokens: number]
  readonly day: readonly [start: string, nano: bigint]
  readonly month: readonly [start: string, requests: number, tokens: number, nano: bigint]
  readonly totalNano: bigint
  readonly heldNano: bigint
  readonly active: number
}

/** The limits of what may be spent in all. */
const MONEY: ReadonlySet<keyof Limits> = new Set(['daily_nano', 'monthly_nano', 'total_nano'])

type Size = 'minute' | 'day' | 'month'

/**
 * The books of one account as one would keep them on paper: every call and every count is remembered, and all sums
 * are made anew from the whole history. Slow, and simple enough to be seen to be right.
 */
export class BooksModel {
  balanceNano = 0n
  readonly calls: ModelCall[] = []
  readonly #counted = new Map<string, Counted[]>()
  readonly #limits: ReadonlyMap<string, Limits>

  constructor(limits: ReadonlyMap<string, Limits>) {
    this.#limits = limits
  }

  get heldNano(): bigint {
    return sum(this.#held().map((call) => call.heldNano))
  }

  subjects(): readonly string[] {
    return [...this.#counted.keys()]
  }

  /** The most output, up to what is wanted, that every limit and the balance carry; -1 where not even none is. */
  carries(
    payer: Payer,
    now: Date,
    ask: {
      readonly calls: number
      readonly ownNano: bigint
      readonly inputTokens: number
      readonly nano: (output: number) => bigint
      readonly tokens: (output: number) => number
      readonly wanted: number
    },
  ): number {
    for (let output = ask.wanted; output >= 0; output--) {
      const nano = ask.nano(output)
      const fits =
        nano <= this.balanceNano - this.heldNano &&
        subjectsOf(payer).every((subject) =>
          this.#fits(subject, now, ask.calls, ask.tokens(output), nano, ask.ownNano),
        )
      if (fits) return output
    }
    return -1
  }

  hold(request: HoldRequest, now: Date, heldNano: bigint, outputTokens: number): void {
    this.calls.push({ request, heldAt: now, state: 'held', heldNano, outputTokens, totalNano: 0n })
    this.#count(request, now, true, 1, request.inputTokens + outputTokens, heldNano)
  }

  extend(call: ModelCall, now: Date, heldNano: bigint, outputTokens: number): void {
    const tokens = outputTokens - call.outputTokens
    if (tokens > 0) this.#count(call.request, now, false, 0, tokens, heldNano - call.heldNano)
    call.heldNano = heldNano
    call.outputTokens = outputTokens
  }

  /** Whether a call that was reaped can still be charged so much. */
  canPay({ request: { payer } }: ModelCall, now: Date, totalNano: bigint): boolean {
    return (
      totalNano <= this.balanceNano - this.heldNano &&
      subjectsOf(payer).every((subject) => this.#fits(subject, now, 0, 0, totalNano, 0n, MONEY))
    )
  }

  settle(call: ModelCall, now: Date, totalNano: bigint, tokens: number): void {
    if (call.state === 'settled') return
    if (call.state === 'held') this.#correct(call, totalNano, tokens)
    // A call that held nothing opens no window.
    else if (call.heldNano > 0n || call.request.inputTokens + call.outputTokens > 0) {
      this.#count(call.request, now, false, 0, tokens, totalNano)
    }
    call.state = 'settled'
    call.totalNano = totalNano
    this.balanceNano -= totalNano
  }

  reap(call: ModelCall): void {
    this.#correct(call, 0n, 0)
    call.state = 'reaped'
  }

  counters(subject: string): ModelCounters {
    const counted = this.#counted.get(subject) ?? []
    const latest = (size: Size): readonly [string, readonly Counted[]] => {
      const starts = counted.map(({ at }) => windowStart(size, at)).sort()
      const start = starts.at(-1) ?? ''
      return [start, counted.filter(({ at }) => windowStart(size, at) === start)]
    }
    const [minute, inMinute] = latest('minute')
    const [day, inDay] = latest('day')
    const [month, inMonth] = latest('month')
    const held = this.#held().filter(({ request }) => subjectsOf(request.payer).includes(subject))
    const requests = (list: readonly Counted[]): number =>
      list.reduce((count, entry) => count + entry.requests, 0)
    const tokens = (list: readonly Counted[]): number =>
      list.reduce((count, entry) => count + entry.tokens, 0)
    const nano = (list: readonly Counted[]): bigint => sum(list.map((entry) => entry.nano))
    return {
      minute: [minute, requests(inMinute), tokens(inMinute)],
      day: [day, nano(inDay)],
      month: [month, requests(inMonth), tokens(inMonth), nano(inMonth)],
      totalNano: sum(
        this.calls
          .filter(({ request }) => subjectsOf(request.payer).includes(subject))
          .map((call) => (call.state === 'held' ? call.heldNano : call.totalNano)),
      ),
      heldNano: sum(held.map((call) => call.heldNano)),
      active: held.length,
    }
  }

  #held(): readonly ModelCall[] {
    return this.calls.filter(({ state }) => state === 'held')
  }

  #fits(
    subject: string,
    now: Date,
    calls: number,
    tokens: number,
    nano: bigint,
    ownNano: bigint,
    only?: ReadonlySet<keyof Limits>,
  ): boolean {
    const limits = this.#limits.get(subject)
    if (limits === undefined) return true
    const counters = this.counters(subject)
    const current = <Value>(size: Size, start: string, value: Value, none: Value): Value =>
      start === windowStart(size, now) ? value : none
    const [minute, minuteRequests, minuteTokens] = counters.minute
    const [day, dayNano] = counters.day
    const [month, monthRequests, monthTokens, monthNano] = counters.month
    const uses: readonly (readonly [keyof Limits, number | bigint])[] = [
      ...(calls === 0
        ? []
        : ([
            ['requests_per_minute', current('minute', minute, minuteRequests, 0) + calls],
            ['monthly_request_limit', current('month', month, monthRequests, 0) + calls],
            ['max_concurrent_requests', counters.active + calls],
          ] as const)),
      ['tokens_per_minute', current('minute', minute, minuteTokens, 0) + tokens],
      ['monthly_token_limit', current('month', month, monthTokens, 0) + tokens],
      ['daily_nano', current('day', day, dayNano, 0n) + nano],
      ['monthly_nano', current('month', month, monthNano, 0n) + nano],
      ['total_nano', counters.totalNano + nano],
      ['max_nano_per_request', ownNano + nano],
    ]
    return uses.every(([name, use]) => {
      if (only && !only.has(name)) return true
      const limit = limits[name]
      return typeof limit !== 'bigint' || BigInt(use) <= limit
    })
  }

  #count(
    { callId, payer }: HoldRequest,
    at: Date,
    isHold: boolean,
    requests: number,
    tokens: number,
    nano: bigint,
  ): void {
    for (const subject of subjectsOf(payer)) {
      const counted = this.#counted.get(subject) ?? []
      this.#counted.set(subject, [...counted, { callId, at, isHold, requests, tokens, nano }])
    }
  }

  /** A settlement replaces what was counted in the windows that the hold began in; what came later stays counted. */
  #correct(call: ModelCall, totalNano: bigint, tokens: number): void {
    for (const subject of subjectsOf(call.request.payer)) {
      const counted = this.#counted.get(subject) ?? []
      const own = counted.filter(({ callId }) => callId === call.request.callId)
      const [hold] = own
      if (hold === undefined) continue
      const spent = { tokens, nano: totalNano }
      // Each size of window is corrected by itself, so the counts of a call are split by window.
      this.#counted.set(subject, [
        ...counted.filter((entry) => !own.includes(entry)),
        ...own.map((entry) => ({ ...entry })),
        correction(hold, own, spent),
      ])
    }
  }
}

/** What takes a call's counts from held to used, at the moment at which it was held. */
function correction(
  hold: Counted,
  own: readonly Counted[],
  spent: { tokens: number; nano: bigint },
): Counted {
  return {
    ...hold,
    isHold: false,
    requests: 0,
    tokens: spent.tokens - own.reduce((count, entry) => count + entry.tokens, 0),
    nano: spent.nano - sum(own.map((entry) => entry.nano)),
  }
}

function subjectsOf(payer: Payer): readonly string[] {
  return [
    payer.accountId,
    payer.projectId,
    payer.lineageId,
    ...(payer.parentLineageId === undefined ? [] : [payer.parentLineageId]),
  ]
}

export function windowStart(size: Size, at: Date): string {
  const length = { minute: 16, day: 10, month: 7 }[size]
  return at.toISOString().slice(0, length)
}

function sum(values: readonly bigint[]): bigint {
  return values.reduce((total, value) => total + value, 0n)
}
