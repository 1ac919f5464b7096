import type { HoldRefused, Settlement } from './books.ts'

/** The two queues whose items are posted in batches. */
export type BooksQueue = 'holds' | 'settlements'

/** Is told what the books do, as they do it. It must be quick, and must not throw. */
export interface BooksObserver {
  /** A batch was posted. */
  batch(queue: BooksQueue, items: number, durationMs: number): void
  /** A batch, or the connection for one, failed for a reason that passes. */
  setback(queue: BooksQueue): void
  holdRefused(reason: HoldRefused['reason']): void
  /** A settlement is in the books. Told once of each call, whatever stood in its settlement's place. */
  settled(settlement: Settlement): void
  /** A settlement was posted though its caller had been told that the books could not be written in time. */
  late(settlement: Settlement): void
  /** What a settlement charged will be given back: nothing had been delivered. */
  withdrawn(settlement: Settlement): void
  /** The database refused a settlement for its own sake. */
  quarantined(): void
  /** Holds of dead routers were released. */
  reaped(count: number): void
}

/** How the books of one process stand. */
export interface BooksState {
  readonly holds: QueueState
  readonly settlements: QueueState
  /** How long the settlement has waited that waits longest, posting included; 0 where none does. */
  readonly oldestSettlementMs: number
  /** Calls that money is held for here, those whose settlement waits included. */
  readonly held: number
}

interface QueueState {
  /** Items that wait for their batch. */
  readonly items: number
  readonly isConnected: boolean
}
