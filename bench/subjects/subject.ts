import type { Program } from '../machine/program.ts'

/** What is measured: something between a client and a provider. */
export interface Subject {
  readonly name: string
  /** Starts it in front of a provider that listens on a port of this machine. */
  start(upstreamPort: number): Promise<Running>
}

export interface Running {
  readonly port: number
  readonly program: Program
  /** Headers that each call needs. */
  readonly headers: Readonly<Record<string, string>>
  /** The same of several callers, where one may not make all calls of the bench at once. */
  readonly callers: readonly Readonly<Record<string, string>>[]
  /** The processes that serve. */
  readonly serverPids: () => readonly number[]
  /** The processes of its database, where it has one. */
  readonly databasePids: () => readonly number[]
  stop(): Promise<void>
}

/** Why something cannot be measured here. */
export interface Absent {
  readonly name: string
  readonly why: string
}
