import type { ParseArgsConfig } from 'node:util'
import type { Settings } from '../settings.ts'
import { StartupError } from '../storage/startup-error.ts'

/** What a command runs with. */
export interface OpsContext {
  /** Read when they are needed: some commands need none. */
  readonly settings: () => Settings
  /** The version of MESH. */
  readonly mesh: string
  /** A file as the operator named it, from the folder in which he stands. */
  pathOf(file: string): string
  /** A line of the result. */
  say(text: string): void
  /** A line about what is being done, beside the result. */
  tell(text: string): void
  /** Aborted when the operator interrupts. */
  readonly signal: AbortSignal
}

/** Options by name, as `parseArgs` gives them. */
export type OptionValues = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>

/** One command: the words that call it, what it takes, and what it does. */
export interface Command {
  readonly words: readonly string[]
  readonly options: NonNullable<ParseArgsConfig['options']>
  /** How many files or folders it takes, at least and at most. */
  readonly operands: readonly [least: number, most: number]
  /** Lines for `--help`. */
  readonly help: string
  /**
   * Resolves to the exit code: 0 done and in order, 1 not in order.
   * @throws StartupError with one plain sentence for what cannot be done.
   */
  run(context: OpsContext, operands: readonly string[], options: OptionValues): Promise<number>
}

/** The command was not called as it is meant to be: exit code 2. */
export class UsageError extends StartupError {}
