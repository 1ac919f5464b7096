import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'

/** A stream that may be a terminal. */
export type Output = Writable & { readonly isTTY?: boolean }

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow'

const STYLES: Readonly<Record<Style, readonly [on: number, off: number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
}

/** What moves the cursor, rings, or begins a sequence: C0 and C1 but for tab and line feed, and the turns of direction. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it takes out
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

export interface TerminalOptions {
  readonly stdout: Output
  readonly stderr: Output
  readonly json: boolean
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** Where the command writes: answers to stdout, everything about them to stderr. */
export class Terminal {
  readonly json: boolean
  readonly #stdout: Output
  readonly #stderr: Output
  readonly #mayColour: boolean

  constructor({ stdout, stderr, json, environment }: TerminalOptions) {
    this.#stdout = stdout
    this.#stderr = stderr
    this.json = json
    // https://no-color.org
    this.#mayColour = !environment.NO_COLOR && environment.TERM !== 'dumb'
  }

  /** Waits for a slow reader. What would steer a terminal does not reach one. */
  async write(text: string): Promise<void> {
    const shown = this.#stdout.isTTY ? withoutControls(text) : text
    if (shown !== '' && !this.#stdout.write(shown)) await once(this.#stdout, 'drain')
  }

  async line(text = '', style?: Style): Promise<void> {
    const shown = this.#stdout.isTTY ? withoutControls(text) : text
    const line = `${this.#styled(this.#stdout, shown, style)}\n`
    if (!this.#stdout.write(line)) await once(this.#stdout, 'drain')
  }

  async writeJson(value: unknown): Promise<void> {
    const text = JSON.stringify(value, null, this.#stdout.isTTY ? 2 : undefined)
    await this.write(`${text}\n`)
  }

  /** One object a line, for lists without an end. */
  async writeJsonLine(value: unknown): Promise<void> {
    await this.write(`${JSON.stringify(value)}\n`)
  }

  /** Columns as wide as they must be; numbers to the right. Between programs, tabs. */
  async table(headings: readonly string[], rows: readonly (readonly Cell[])[]): Promise<void> {
    const shown = rows.map((row) => row.map((cell) => withoutControls(textOf(cell))))
    if (!this.#stdout.isTTY) {
      for (const row of [headings, ...shown])
        await this.line(row.map((cell) => cell.replaceAll('\t', ' ')).join('\t'))
      return
    }
    const isRight = headings.map(
      (_, at) => rows.length > 0 && rows.every((row) => typeof row[at] === 'number' || isAmount(row[at])),
    )
    const widths = headings.map((heading, at) =>
      Math.max(heading.length, ...shown.map((row) => row[at]?.length ?? 0)),
    )
    const aligned = (row: readonly string[]) =>
      row
        .map((cell, at) => (isRight[at] ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)))
        .join('  ')
        .trimEnd()
    await this.line(aligned(headings), 'dim')
    for (const row of shown) await this.line(aligned(row))
  }

  /** A word about the answer, on stderr. */
  note(text: string, style: Style = 'dim'): void {
    this.#stderr.write(`${this.#styled(this.#stderr, withoutControls(text), style)}\n`)
  }

  #styled(output: Output, text: string, style: Style | undefined): string {
    if (style === undefined || !output.isTTY || !this.#mayColour) return text
    const [on, off] = STYLES[style]
    return `\u001b[${on}m${text}\u001b[${off}m`
  }
}

export type Cell = string | number | null | undefined

function textOf(cell: Cell): string {
  return cell === null || cell === undefined ? '-' : String(cell)
}

function isAmount(cell: Cell): boolean {
  return typeof cell === 'string' && /^(?:-|-?[0-9]+(?:\.[0-9]+)?)$/.test(cell)
}

function withoutControls(text: string): string {
  return stripVTControlCharacters(text).replace(CONTROLS, '')
}
