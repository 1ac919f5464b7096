import type { Command, CommandOption } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'

/** What every command takes. */
export const SHARED_OPTIONS: Readonly<Record<string, CommandOption>> = {
  json: { type: 'boolean', help: 'Print JSON: what the API answered.' },
  'base-url': {
    type: 'string',
    value: 'URL',
    help: 'Where MESH is, with its /v1 (MESH_BASE_URL; https://api.meshrouter.app/v1).',
  },
  help: { type: 'boolean', short: 'h', help: 'Print this help.' },
}

const NAME_WIDTH = 16

/** `meshrouter --help`. */
export function overview(commands: readonly Command[]): string {
  const codes = Object.values(EXIT_CODES).map(({ code, meaning }) => `  ${String(code).padEnd(4)}${meaning}`)
  return `Usage: meshrouter COMMAND [OPTIONS]

Commands:
${rows(commands.map(({ name, summary }) => [name, summary]))}

Every command has a --help of its own, with an example. meshrouter --version prints the version.

The key comes from MESH_API_KEY, the file that MESH_API_KEY_FILE names, OPENAI_API_KEY where that is a MESH key, or
~/.config/meshrouter/key. Files must have mode 0600. A key on the command line is refused.
Colours are for terminals, and NO_COLOR takes them away.

Exit codes:
${codes.join('\n')}
`
}

/** `meshrouter COMMAND --help`. */
export function helpOf(command: Command): string {
  const { name, takes, summary, about, options = {}, examples } = command
  const usage = ['meshrouter', name, ...(takes ? [takes] : []), '[OPTIONS]'].join(' ')
  const shown = Object.entries({ ...options, ...SHARED_OPTIONS }).map(
    ([option, spec]) => [optionWords(option, spec), optionHelp(spec)] as const,
  )
  return `Usage: ${usage}

${summary}
${about ? `${about}\n` : ''}
Options:
${rows(shown)}

Example:
${examples.map((example) => `  ${example}`).join('\n')}
`
}

function optionWords(name: string, { short, value }: CommandOption): string {
  return `${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`
}

function optionHelp({ help, choices, multiple }: CommandOption): string {
  return `${help}${choices ? ` One of ${choices.join(', ')}.` : ''}${multiple ? ' May be repeated.' : ''}`
}

function rows(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(NAME_WIDTH, ...pairs.map(([name]) => name.length + 2))
  return pairs.map(([name, text]) => `  ${name.padEnd(width)}${text}`).join('\n')
}
