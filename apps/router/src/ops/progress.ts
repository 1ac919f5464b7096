import type { OpsContext } from './command.ts'

const INTERVAL_MS = 2_000

/** Tells how far the rows of a table are, not oftener than people read. */
export function rowProgress({ tell }: Pick<OpsContext, 'tell'>): (table: string, count: number) => void {
  let toldAtMs = performance.now()
  return (table, count) => {
    const nowMs = performance.now()
    if (nowMs - toldAtMs < INTERVAL_MS) return
    toldAtMs = nowMs
    tell(`  ${table}: ${count.toLocaleString('en')} rows`)
  }
}

/** The rows of all tables together. */
export function rowsIn(rowsByTable: ReadonlyMap<string, number>): number {
  return [...rowsByTable.values()].reduce((sum, count) => sum + count, 0)
}
