import type { Load } from './load/load.ts'
import type { Cores } from './machine/cores.ts'
import type { Absent, Subject } from './subjects/subject.ts'

/** What every part of the bench works with. */
export interface Bench {
  readonly cores: Cores | undefined
  readonly load: Load
  readonly nginx: string | undefined
  /** The others, as far as this machine has them. */
  readonly others: readonly (Subject | Absent)[]
  readonly rounds: number
  /** How long one measurement lasts. */
  readonly seconds: number
  /** How long each subject runs before it is measured, so that its code is compiled. */
  readonly warmUpSeconds: number
  readonly isQuick: boolean
  tell(text: string): void
}

export interface Table {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** What a part found: tables for people, figures for the bars, and words on what is absent or limits it. */
export interface PartResult {
  readonly tables: readonly Table[]
  readonly figures: Readonly<Record<string, number>>
  readonly notes: readonly string[]
}

export interface Part {
  readonly name: string
  readonly meaning: string
  /** Whether nothing of it is pinned to a core. Otherwise the bench, and what it starts, has one of its own. */
  readonly usesAllCores?: boolean
  run(bench: Bench): Promise<PartResult>
}
