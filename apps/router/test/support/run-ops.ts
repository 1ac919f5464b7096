import { resolve } from 'node:path'
import type { Command, OptionValues } from '../../src/ops/command.ts'
import { readSettings } from '../../src/settings.ts'
import { StartupError } from '../../src/storage/startup-error.ts'

/** What came of a command. */
export interface Ran {
  readonly code: number
  /** Its result, and the sentence of a refusal. */
  readonly said: string
}

/** Runs an operator's command in this process, on the home and the database that the environment names. */
export async function runOps(
  command: Command,
  operands: readonly string[],
  options: OptionValues,
  environment: Readonly<Record<string, string>>,
): Promise<Ran> {
  const lines: string[] = []
  const settings = readSettings(environment, '/')
  try {
    const code = await command.run(
      {
        settings: () => settings,
        mesh: '0.0.0-test',
        pathOf: (file) => resolve(file),
        say: (text) => void lines.push(text),
        tell: () => undefined,
        signal: new AbortController().signal,
      },
      operands,
      options,
    )
    return { code, said: lines.join('\n') }
  } catch (error) {
    if (!(error instanceof StartupError)) throw error
    return { code: 1, said: [...lines, error.message].join('\n') }
  }
}
