import type { HealthReport } from '../providers/health-report.ts'

/** What every process of this machine that serves can be asked, and what each answers. */
export interface Reports {
  /** The metrics of the process, as plain data that prom-client can merge. */
  readonly metrics: readonly object[]
  /** What the process saw of the providers' endpoints. */
  readonly health: HealthReport
}

export type ReportName = keyof Reports

/** What the processes answered. */
export interface Gathered<Name extends ReportName> {
  readonly reports: readonly Reports[Name][]
  /** How many processes did not answer in time, or have nothing to say. */
  readonly silent: number
}

/** The processes of this machine that serve, as one of them sees them. */
export interface Siblings {
  /** Says how this process answers. */
  report<Name extends ReportName>(name: Name, make: () => Promise<Reports[Name]>): void
  /** Asks every process, this one included. Never waits long, and never rejects for a process that is silent. */
  gather<Name extends ReportName>(name: Name): Promise<Gathered<Name>>
}

/** What a process answers when it is asked. */
export class OwnReports {
  readonly #makers = new Map<ReportName, () => Promise<Reports[ReportName]>>()

  set<Name extends ReportName>(name: Name, make: () => Promise<Reports[Name]>): void {
    this.#makers.set(name, make)
  }

  /** `undefined` where this process has nothing to say yet. */
  async make<Name extends ReportName>(name: Name): Promise<Reports[Name] | undefined> {
    return (await this.#makers.get(name)?.()) as Reports[Name] | undefined
  }
}

/** Counts the processes that said nothing. */
export function gathered<Name extends ReportName>(
  answers: readonly (Reports[Name] | undefined)[],
): Gathered<Name> {
  const reports = answers.filter((answer) => answer !== undefined)
  return { reports, silent: answers.length - reports.length }
}

/** The siblings of a process that serves alone. */
export function onlyProcess(): Siblings {
  const own = new OwnReports()
  return {
    report: (name, make) => own.set(name, make),
    gather: async (name) => gathered([await own.make(name)]),
  }
}
