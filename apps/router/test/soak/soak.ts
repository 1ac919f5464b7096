/**
 * Breaks MESH while calls run, round after round, and says what was lost, charged twice, overspent and leaked. See
 * "Under fire" in docs/running.md.
 */
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import type { Fault, RoundResult } from './fault.ts'
import { FAULTS } from './faults.ts'
import { type FaultReport, isSound, reportOf, tableOf } from './report.ts'
import { openTheatre } from './rounds.ts'

const HELP = `Usage: npm run soak -- [--only NAME[,NAME]] [--rounds N] [--seed N] [--list] [--json] [--help]

Breaks MESH while calls run, and prints for every fault how many calls were made, and how many of them were lost,
charged twice, overspent or leaked. Exit code 1 when any was, or when a fault could not strike to its end.

  --only NAME,…   these faults, and no others
  --rounds N      so many rounds of each, instead of its own number
  --seed N        draws the same calls and instants again
  --list          names the faults, with their rounds
  --json          the reports as JSON in place of the table
  --help          show this

Ctrl-C ends the round under way, and prints what there is by then.
`

interface Wishes {
  readonly faults: readonly Fault[]
  readonly rounds: number | undefined
  readonly seed: number
  readonly json: boolean
}

/** Words that cannot be understood. */
class UsageError extends Error {
  override readonly name = 'UsageError'
}

function readWishes(words: readonly string[]): Wishes | 'help' | 'list' {
  const { values } = parseWords(words)
  if (values.help) return 'help'
  if (values.list) return 'list'
  return {
    faults: values.only === undefined ? FAULTS : values.only.split(',').map(faultNamed),
    rounds: values.rounds === undefined ? undefined : wholeNumber('--rounds', values.rounds),
    seed: values.seed === undefined ? randomInt(2 ** 31) : wholeNumber('--seed', values.seed),
    json: values.json === true,
  }
}

function parseWords(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      options: {
        only: { type: 'string' },
        rounds: { type: 'string' },
        seed: { type: 'string' },
        list: { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch {
    throw new UsageError('There is no such option. See: npm run soak -- --help')
  }
}

function faultNamed(name: string): Fault {
  const fault = FAULTS.find((each) => each.name === name.trim())
  if (fault) return fault
  throw new UsageError(`There is no such fault. There are: ${FAULTS.map((each) => each.name).join(', ')}.`)
}

function wholeNumber(option: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new UsageError(`${option} wants a whole number.`)
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Strikes with one fault, so many times. What breaks it off is told in its report. */
async function soakWith(
  fault: Fault,
  { rounds, seed }: Pick<Wishes, 'seed'> & { readonly rounds: number },
  stop: AbortSignal,
): Promise<FaultReport> {
  const skipped = await fault.unavailable?.()
  if (skipped !== undefined) {
    tell(`${fault.name}: skipped: ${skipped}`)
    return reportOf(fault.name, [], { skipped })
  }
  const results: RoundResult[] = []
  try {
    const theatre = await openTheatre(fault.layout)
    try {
      for (let round = 1; round <= rounds && !stop.aborted; round++) {
        const result = await theatre.play(fault, seed, round)
        results.push(result)
        tell(`${fault.name} ${round}/${rounds}: ${result.calls} calls, ${result.findings.length} findings`)
        for (const finding of result.findings) tell(`  ${finding}`)
      }
    } finally {
      await theatre.close()
    }
    return reportOf(fault.name, results)
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    tell(`${fault.name}: broken off: ${problem}`)
    return reportOf(fault.name, results, { problem })
  }
}

/** Resolves to the exit code. */
async function main(): Promise<number> {
  const wishes = readWishes(process.argv.slice(2))
  if (wishes === 'help') {
    process.stdout.write(HELP)
    return 0
  }
  if (wishes === 'list') {
    for (const { name, rounds, meaning } of FAULTS) {
      process.stdout.write(`${name.padEnd(24)} ${String(rounds.soak).padStart(3)} rounds  ${meaning}\n`)
    }
    return 0
  }
  const { faults, seed } = wishes
  const startedAtMs = performance.now()
  const stop = new AbortController()
  process.on('SIGINT', () => {
    if (!stop.signal.aborted) tell('Stopping after this round …')
    stop.abort()
  })
  tell(`seed ${seed}: --seed ${seed} draws the same calls and instants`)
  const reports: FaultReport[] = []
  for (const fault of faults) {
    if (stop.signal.aborted) break
    const rounds = wishes.rounds ?? fault.rounds.soak
    reports.push(await soakWith(fault, { rounds, seed }, stop.signal))
  }
  const tookSeconds = Math.round((performance.now() - startedAtMs) / 1_000)
  if (wishes.json) process.stdout.write(`${JSON.stringify({ seed, tookSeconds, reports }, null, 2)}\n`)
  else {
    const took = `${Math.floor(tookSeconds / 60)} min ${tookSeconds % 60} s`
    process.stdout.write(`${tableOf(reports)}\nIt took ${took}, with the seed ${seed}.\n`)
  }
  return reports.every(isSound) && !stop.signal.aborted ? 0 : 1
}

main().then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    if (!(error instanceof UsageError)) throw error
    tell(error.message)
    process.exitCode = 2
  },
)
