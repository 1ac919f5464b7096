import type { RoundResult } from './fault.ts'

/** What became of one fault, in all of its rounds. */
export interface FaultReport extends RoundResult {
  readonly fault: string
  readonly rounds: number
  /** Why the fault did not strike, or not to its end. */
  readonly problem?: string
  /** Why it cannot strike on this machine. */
  readonly skipped?: string
}

/** Adds up a fault's rounds. */
export function reportOf(
  fault: string,
  rounds: readonly RoundResult[],
  rest: Pick<FaultReport, 'problem' | 'skipped'> = {},
): FaultReport {
  const sum = (column: Exclude<keyof RoundResult, 'findings'>): number =>
    rounds.reduce((total, round) => total + round[column], 0)
  return {
    fault,
    rounds: rounds.length,
    calls: sum('calls'),
    lost: sum('lost'),
    double: sum('double'),
    overspent: sum('overspent'),
    leaked: sum('leaked'),
    findings: rounds.flatMap(({ findings }) => findings),
    ...rest,
  }
}

/** Whether nothing was found, and nothing stood in the way of looking. */
export function isSound({ lost, double, overspent, leaked, problem }: FaultReport): boolean {
  return lost + double + overspent + leaked === 0 && problem === undefined
}

const COLUMNS = ['fault', 'rounds', 'calls', 'lost', 'double', 'overspent', 'leaked'] as const

/** The reports as a table for people, and every finding under it. */
export function tableOf(reports: readonly FaultReport[]): string {
  const rows = [COLUMNS, ...reports.map((report) => COLUMNS.map((column) => String(report[column])))]
  const widths = COLUMNS.map((_, place) => Math.max(...rows.map((row) => row[place]?.length ?? 0)))
  const lines = rows.map((row, line) => {
    const cells = row.map((cell, place) =>
      place === 0 ? cell.padEnd(widths[place] ?? 0) : cell.padStart(widths[place] ?? 0),
    )
    const { problem, skipped } = reports[line - 1] ?? {}
    const note = skipped === undefined ? (problem === undefined ? '' : 'BROKEN OFF') : `skipped: ${skipped}`
    return `${cells.join('  ')}  ${note}`.trimEnd()
  })
  const notes = reports.flatMap(({ fault, findings, problem }) => [
    ...findings.map((finding) => `${fault}: ${finding}`),
    ...(problem === undefined ? [] : [`${fault}: broken off: ${problem}`]),
  ])
  return [...lines, ...(notes.length === 0 ? [] : ['', ...notes]), ''].join('\n')
}
