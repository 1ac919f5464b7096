import type { MeshClient } from '../mesh-client.ts'
import { CommandError } from './exit-codes.ts'
import type { Terminal } from './terminal.ts'

/** An option of a command, as `node:util` parses it and as help shows it. */
export interface CommandOption {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  readonly multiple?: boolean
  /** What stands for the value in help. */
  readonly value?: string
  /** The values that it takes, where they are few. */
  readonly choices?: readonly string[]
  readonly help: string
}

export interface Command {
  /** One word or two: `keys create`. */
  readonly name: string
  readonly summary: string
  /** What follows the name in help: `[PROMPT…]`. */
  readonly takes?: string
  /** The words that may follow, where they are few. */
  readonly choices?: readonly string[]
  /** How many words may follow the name. */
  readonly wordsMax: number
  readonly options?: Readonly<Record<string, CommandOption>>
  /** What its help says beyond the summary. */
  readonly about?: string
  readonly examples: readonly string[]
  run(context: Context): Promise<void>
}

/** What a command works with. */
export interface Context {
  /** A client with the key that was found. @throws CommandError where there is none. */
  client(): Promise<MeshClient>
  readonly baseURL: string
  readonly environment: Environment
  readonly terminal: Terminal
  readonly words: readonly string[]
  readonly options: Options
  /** Fires on Ctrl-C. */
  readonly signal: AbortSignal
  /** All of standard input, as text. */
  readInput(): Promise<string>
}

export type Environment = Readonly<Record<string, string | undefined>>

/** The options that were given. */
export class Options {
  readonly #values: Readonly<Record<string, unknown>>

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values
  }

  has(name: string): boolean {
    return this.#values[name] === true
  }

  text(name: string): string | undefined {
    const value = this.#values[name]
    return typeof value === 'string' ? value : undefined
  }

  texts(name: string): readonly string[] {
    const value = this.#values[name]
    return Array.isArray(value) ? value.map(String) : []
  }

  /** The items of a list that is written with commas. */
  list(name: string): string[] {
    return (this.text(name) ?? '').split(',').flatMap((item) => item.trim() || [])
  }

  /** @throws CommandError where it is no whole number within the bounds. */
  count(name: string, { min, max }: { readonly min: number; readonly max: number }): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const count = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (count >= min && count <= max) return count
    throw new CommandError('usage', `--${name} must be a whole number from ${min} to ${max}.`)
  }

  /** @throws CommandError where it is none of them. */
  oneOf<Choice extends string>(name: string, choices: readonly Choice[]): Choice | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const chosen = choices.find((choice) => choice === text)
    if (chosen !== undefined) return chosen
    throw new CommandError('usage', `--${name} must be one of ${choices.join(', ')}.`)
  }
}
