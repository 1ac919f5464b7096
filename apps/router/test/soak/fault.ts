import type { Policy } from '../../src/policy.ts'
import type { Database } from '../../src/storage/database.ts'
import type { Finished } from '../support/router-process.ts'
import type { WayToDatabase } from '../support/way-to-database.ts'

/** Something that breaks while calls run. One file each under `faults/`, listed in `faults.ts`. */
export interface Fault {
  /** As the table and `--only` name it: kebab-case. */
  readonly name: string
  /** What breaks, in one line. */
  readonly meaning: string
  /** How often it strikes, in `npm run soak` and in the short set of `npm test`; 0 where that would take too long. */
  readonly rounds: { readonly soak: number; readonly test: number }
  readonly layout?: Layout
  /** Why it cannot strike on this machine (a tool that is absent, a right that is missing); said aloud. */
  unavailable?(): Promise<string | undefined>
  /**
   * Breaks the stage while its load runs, and mends it: resolves when calls can be served again, and some have to be
   * before the load ends. The round's audit comes after it, when nothing is held any more.
   */
  strike(stage: Stage): Promise<void>
}

/** What a fault needs of its stage. A stage serves all rounds of its fault. */
export interface Layout {
  /** Router processes on the one database. Default 1. */
  readonly routers?: number
  /** `MESH_WORKERS` of each. Default 1. */
  readonly workers?: number
  readonly environment?: Readonly<Record<string, string>>
  /** The file that `MESH_SETTINGS` names. Short lifetimes of holds keep a round short. */
  readonly policy?: PolicyFile
  /** Settings of PostgreSQL itself. */
  readonly serverSettings?: Readonly<Record<string, string>>
}

type PolicyFile = { readonly [Section in keyof Policy]?: Partial<Record<keyof Policy[Section], unknown>> }

/** Routers as processes, a PostgreSQL of their own that syncs to disk, and callers who make calls of every kind. */
export interface Stage {
  /** Whole numbers below a bound: the same for the same seed and round. */
  readonly below: (bound: number) => number
  readonly routers: readonly StagedRouter[]
  /** PostgreSQL itself. */
  readonly server: StagedServer
  /** The network between routers and PostgreSQL. */
  readonly way: WayToDatabase
  /** A connection of the test's own, which does not go that way. Lost when PostgreSQL dies; ask for it again then. */
  database(): Promise<Database>
  readonly load: Load
}

/** One router process (with its workers). Restarting it is the fault's own to do. */
export interface StagedRouter {
  readonly url: string
  readonly pid: number
  /** The pids of its workers; empty where it is one process. */
  workerPids(): readonly number[]
  isRunning(): boolean
  /** Of the last start: resolves when the process has ended, with how and what it had said. */
  readonly ended: Promise<Finished>
  signal(signal: NodeJS.Signals): void
  /** `kill -9` of it and its workers, and waits for the end. */
  kill(): Promise<void>
  /** Starts it again on the same settings and port, and waits until it listens. */
  start(): Promise<void>
}

export interface StagedServer {
  /** The postmaster's pid. */
  pid(): number
  /** Where its files lie. */
  readonly dataFolder: string
  /** `kill -9` of the postmaster and all its children. */
  kill(): Promise<void>
  start(): Promise<void>
}

/** Callers, each of whom makes one call after the other, and notes what it was told. */
export interface Load {
  /** Answers whose end has come, so far in this round. */
  readonly ends: number
  /** Answers of every other kind by their word: an error's code, `nobody`, `connection`, `ended early`. */
  readonly others: ReadonlyMap<string, number>
  /** The same of the callers of one router. */
  othersAt(url: string): ReadonlyMap<string, number>
  /** The accounts that the callers pay from; their calls spread over them evenly. */
  readonly accountIds: readonly string[]
  /** Resolves when so many more ends have come; rejects when that takes too long. */
  moreEnds(count: number): Promise<void>
}

/** What the audit of one round found. A sound round has zeros in all but the first. */
export interface RoundResult {
  /** Calls that were made. */
  readonly calls: number
  /** Ends that a caller saw and the books do not have as told, and money that is held for calls that are over. */
  readonly lost: number
  /** Calls, and idempotency keys, that were charged more than once. */
  readonly double: number
  /** Books in debt, and limits that were passed. */
  readonly overspent: number
  /** Canaries of prompts, answers and keys found in the database's files, in logs, in answers to others. */
  readonly leaked: number
  /** A sentence for each of those. */
  readonly findings: readonly string[]
}
