import { readFile } from 'node:fs/promises'
import { addAbortSignal, type Readable } from 'node:stream'
import { parseArgs } from 'node:util'
import { APIConnectionError, APIError } from 'openai'
import { isMeshError, MeshClientError } from '../errors.ts'
import { DEFAULT_BASE_URL, MeshClient } from '../mesh-client.ts'
import { ReceiptError } from '../verify-receipt.ts'
import { type Command, type Context, type Environment, Options } from './command.ts'
import { COMMANDS } from './commands.ts'
import { findKey, requireNoKeys } from './credentials.ts'
import { CommandError, type Ending, EXIT_CODES } from './exit-codes.ts'
import { helpOf, overview, SHARED_OPTIONS } from './help.ts'
import { type Output, Terminal } from './terminal.ts'

/** What a program gives the command: its words, its streams, and when to stop. */
export interface Program {
  readonly words: readonly string[]
  readonly environment: Environment
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Output
  readonly stderr: Output
  readonly signal: AbortSignal
}

const INPUT_BYTES_MAX = 16 * 1024 * 1024

/** Runs the command, and returns its exit code. Never rejects. */
export async function run(program: Program): Promise<number> {
  const { words, environment, stdout, stderr, signal } = program
  const terminal = new Terminal({ stdout, stderr, environment, json: asksForJson(words) })
  try {
    requireNoKeys(words, environment)
    await dispatch(program, terminal)
    // A stream that is aborted ends without an error.
    return signal.aborted ? EXIT_CODES.interrupted.code : EXIT_CODES.done.code
  } catch (error) {
    if (signal.aborted) return EXIT_CODES.interrupted.code
    const failure = failureOf(error)
    if (terminal.json) terminal.note(JSON.stringify({ error: failure }))
    else terminal.note(`meshrouter: ${failure.message}${wordsBehind(failure)}`, 'red')
    return EXIT_CODES[failure.ending].code
  }
}

/** Also of words that cannot be understood; what stands behind `--` is no option. */
function asksForJson(words: readonly string[]): boolean {
  const [option, end] = [words.indexOf('--json'), words.indexOf('--')]
  return option !== -1 && (end === -1 || option < end)
}

async function dispatch(program: Program, terminal: Terminal): Promise<void> {
  const { words } = program
  const [first] = words
  if (first === undefined) throw new CommandError('usage', `Say what to do.\n\n${overview(COMMANDS)}`)
  if (first === '--version' || first === '-v') return terminal.line(await version())
  if (first === '--help' || first === '-h') return terminal.write(overview(COMMANDS))
  const command = first === 'help' ? commandNamed(words.slice(1)) : commandNamed(words)
  if (first === 'help') return terminal.write(command ? helpOf(command) : overview(COMMANDS))
  if (!command) {
    throw new CommandError('usage', 'There is no such command: meshrouter --help lists them.')
  }
  const { values, positionals } = parse(command, words.slice(command.name.split(' ').length))
  const options = new Options(values)
  if (options.has('help')) return terminal.write(helpOf(command))
  if (positionals.length > command.wordsMax) {
    throw new CommandError(
      'usage',
      `There is a word too many: meshrouter ${command.name} --help shows what it takes.`,
    )
  }
  await command.run(contextOf(program, terminal, positionals, options))
}

/** The longest name that the words begin with: `keys create` before `keys`. */
function commandNamed(words: readonly string[]): Command | undefined {
  const named = (count: number) => COMMANDS.find(({ name }) => name === words.slice(0, count).join(' '))
  return named(2) ?? named(1)
}

function parse(command: Command, args: readonly string[]) {
  const options = Object.fromEntries(
    Object.entries({ ...command.options, ...SHARED_OPTIONS }).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short ? { short } : {}), ...(multiple ? { multiple } : {}) },
    ]),
  )
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true })
  } catch (error) {
    const [sentence = ''] = (error instanceof Error ? error.message : '').split(/(?<=')\. |\n/)
    throw new CommandError('usage', `${sentence}. See meshrouter ${command.name} --help`)
  }
}

function contextOf(
  { environment, stdin, signal }: Program,
  terminal: Terminal,
  words: readonly string[],
  options: Options,
): Context {
  const baseURL = options.text('base-url')?.trim() || environment.MESH_BASE_URL?.trim() || DEFAULT_BASE_URL
  return {
    baseURL,
    environment,
    terminal,
    words,
    options,
    signal,
    async client() {
      const { key } = await findKey(environment)
      // Nobody sees a command wait: whoever wants it to try again says so.
      return new MeshClient({ apiKey: key, baseURL, maxRetries: 0, logLevel: 'off' })
    },
    readInput: () => readAll(stdin, signal),
  }
}

async function readAll(stdin: Readable, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of addAbortSignal(signal, stdin)) {
    bytes += chunk.length
    if (bytes > INPUT_BYTES_MAX)
      throw new CommandError('usage', 'Standard input is longer than any model reads.')
    chunks.push(Buffer.from(chunk))
  }
  return Buffer.concat(chunks).toString('utf8')
}

interface Failure {
  readonly ending: Ending
  readonly message: string
  readonly code?: string
  readonly requestId?: string
}

/** Whatever was thrown, in a sentence. */
function failureOf(error: unknown): Failure {
  if (error instanceof CommandError) return { ending: error.ending, message: error.message }
  if (error instanceof ReceiptError) return { ending: 'notGenuine', message: error.message }
  if (error instanceof MeshClientError) {
    return { ending: error.code === 'sealing_not_available' ? 'usage' : 'noKey', message: error.message }
  }
  if (error instanceof APIConnectionError) {
    return {
      ending: 'notReached',
      message: 'MESH was not reached. Check --base-url or MESH_BASE_URL, or run meshrouter doctor.',
    }
  }
  if (error instanceof APIError) {
    return {
      ending: 'refused',
      message: isMeshError(error) ? error.error.message : error.message,
      ...(typeof error.code === 'string' ? { code: error.code } : {}),
      ...(typeof error.requestID === 'string' ? { requestId: error.requestID } : {}),
    }
  }
  return {
    ending: 'refused',
    message: error instanceof Error ? error.message : 'It failed, and does not say why.',
  }
}

function wordsBehind({ code, requestId }: Failure): string {
  const behind = [code, requestId].filter((word) => word !== undefined)
  return behind.length === 0 ? '' : ` (${behind.join(', ')})`
}

async function version(): Promise<string> {
  const manifest = new URL('../../package.json', import.meta.url)
  return JSON.parse(await readFile(manifest, 'utf8')).version
}
