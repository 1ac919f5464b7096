import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { PartResult, Table } from '../part.ts'
import { ALL_PARTS } from '../parts/all.ts'
import { barsTable } from './bars.ts'

const PROJECT = join(import.meta.dirname, '../..')
/** The last results of each part, from which the page is written: parts may be run one at a time. */
const RESULTS = join(PROJECT, 'bench/results.json')
const PAGE = join(PROJECT, 'docs/performance.md')
const BEGIN = '<!-- Made by `npm run bench -- --write`. Change it there. -->'
const END = '<!-- End of what is made. -->'

/** A part's result, and how it came about. */
export interface Recorded extends PartResult {
  readonly machine: string
  readonly date: string
  readonly command: string
}

export type Results = Readonly<Record<string, Recorded>>

const recorded = z.object({
  machine: z.string(),
  date: z.string(),
  command: z.string(),
  tables: z.array(
    z.object({ title: z.string(), columns: z.array(z.string()), rows: z.array(z.array(z.string())) }),
  ),
  figures: z.record(z.string(), z.number()),
  notes: z.array(z.string()),
})

/** Everything as a text for a terminal. */
export function plainText(results: Results): string {
  return [...sections(results), barsOf(results)]
    .map(({ title, tables, notes }) =>
      [`== ${title}`, ...tables.map(plainTable), ...notes].filter((text) => text !== '').join('\n\n'),
    )
    .join('\n\n')
}

/** Keeps the results, and writes the page anew from all that are kept. */
export function writePage(results: Results): void {
  const kept = z.record(z.string(), recorded).parse(JSON.parse(readFileSync(RESULTS, 'utf8')))
  const all: Results = { ...kept, ...results }
  writeFileSync(RESULTS, `${JSON.stringify(all, undefined, 2)}\n`)
  const page = readFileSync(PAGE, 'utf8')
  const [before = ''] = page.split(BEGIN)
  const [, after = ''] = page.split(END)
  const made = [barsOf(all), ...sections(all)].map(({ title, tables, notes }) =>
    [`## ${title}`, ...notes, ...tables.map(markdownTable)].join('\n\n'),
  )
  writeFileSync(PAGE, `${before}${BEGIN}\n\n${made.join('\n\n')}\n\n${END}${after}`)
}

interface Section {
  readonly title: string
  readonly tables: readonly Table[]
  readonly notes: readonly string[]
}

function barsOf(results: Results): Section {
  const figures = Object.assign({}, ...Object.values(results).map((result) => result.figures))
  return { title: 'Bars', tables: [barsTable(figures)], notes: [] }
}

function sections(results: Results): Section[] {
  return ALL_PARTS.flatMap(({ name, meaning }) => {
    const result = results[name]
    if (!result) return []
    const { tables, notes, machine, date, command } = result
    return [
      { title: `${name}: ${meaning}`, tables, notes: [`${date}, \`${command}\`, ${machine}.`, ...notes] },
    ]
  })
}

function plainTable({ title, columns, rows }: Table): string {
  const widths = columns.map((column, place) =>
    Math.max(column.length, ...rows.map((row) => row[place]?.length ?? 0)),
  )
  const line = (row: readonly string[]): string =>
    row
      .map((cell, place) => (place === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[place] ?? 0)))
      .join('  ')
      .trimEnd()
  return [title, line(columns), ...rows.map(line)].join('\n')
}

function markdownTable({ title, columns, rows }: Table): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|')
  const line = (row: readonly string[]): string => `| ${row.map(cell).join(' | ')} |`
  return [
    `**${title}**`,
    '',
    line(columns),
    `|${columns.map(() => '---').join('|')}|`,
    ...rows.map(line),
  ].join('\n')
}
