import { describeError, type Log } from '../log.ts'
import type { BatcherOptions } from './batcher.ts'
import type { Settled } from './books.ts'
import type { BooksObserver, BooksQueue } from './books-observer.ts'
import type { Asking, DecisionRow } from './hold-posting.ts'
import type { Settling } from './settlement-posting.ts'

/** Tells an observer. What goes wrong in it is a fault of its own, and never one of what is posted. */
export type Tell = (tell: (observer: BooksObserver) => void) => void

/** The way to tell an observer. */
export function tellTo(observer: BooksObserver | undefined, log: Log): Tell {
  if (!observer) return () => undefined
  return (tell) => {
    try {
      tell(observer)
    } catch (error) {
      log.error('the books could not be observed', describeError(error))
    }
  }
}

/** How holds are batched, with everything that is to be watched of it told to an observer. */
export function watchedHolds(
  options: BatcherOptions<Asking, DecisionRow>,
  tell: Tell,
): BatcherOptions<Asking, DecisionRow> {
  return watched('holds', options, tell, (observer, { kind }, { granted, reason }) => {
    if (kind === 'hold' && !granted) observer.holdRefused(reason ?? 'stale')
  })
}

/**
 * The same for settlements. Each is told of once, when it is in the books. One that stands instead of an earlier one is
 * told of only where that was not posted before it: else what was charged is taken back, which is told of when the
 * earlier one turns out to be late. One that can no longer be paid never is in the books.
 */
export function watchedSettlements(
  options: BatcherOptions<Settling, Settled>,
  tell: Tell,
): BatcherOptions<Settling, Settled> {
  const isRepeated = ({ withdraws }: Settling, { duplicate, isUnpayable }: Settled): boolean =>
    (withdraws && duplicate) || isUnpayable === true
  return {
    ...watched('settlements', options, tell, (observer, settling, settled) => {
      if (!isRepeated(settling, settled)) observer.settled(settling.settlement)
    }),
    onRefused(settling, error) {
      tell((observer) => observer.quarantined())
      options.onRefused?.(settling, error)
    },
    onUnclaimed(settling, settled) {
      tell((observer) => {
        if (!isRepeated(settling, settled)) observer.late(settling.settlement)
        if (settling.isWithdrawnIfLate && !settled.isUnpayable) observer.withdrawn(settling.settlement)
      })
      options.onUnclaimed?.(settling, settled)
    },
  }
}

function watched<Item, Result>(
  queue: BooksQueue,
  options: BatcherOptions<Item, Result>,
  tell: Tell,
  onResult: (observer: BooksObserver, item: Item, result: Result) => void,
): BatcherOptions<Item, Result> {
  return {
    ...options,
    async post(client, items, lockedBooks) {
      const startedAtMs = performance.now()
      const results = await options.post(client, items, lockedBooks)
      const durationMs = performance.now() - startedAtMs
      let posted = 0
      for (const [index, item] of items.entries()) {
        const result = results[index]
        if (result === undefined || result === 'busy') continue
        posted++
        tell((observer) => onResult(observer, item, result))
      }
      if (posted > 0) tell((observer) => observer.batch(queue, posted, durationMs))
      return results
    },
    onSetback(error) {
      tell((observer) => observer.setback(queue))
      options.onSetback(error)
    },
  }
}
