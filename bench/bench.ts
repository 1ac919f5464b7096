/**
 * Measures MESH beside a plain nginx proxy, a bare undici proxy and Portkey's gateway, on one machine and without a
 * network. See docs/performance.md.
 */
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { h2load } from './load/h2load.ts'
import { socketLoad } from './load/socket-load.ts'
import { chooseCores, describeMachine, pin } from './machine/cores.ts'
import type { Bench, Part } from './part.ts'
import { ALL_PARTS } from './parts/all.ts'
import { plainText, type Recorded, writePage } from './report/report.ts'
import { bareProxy, nginxProxy } from './subjects/plain.ts'
import { portkey } from './subjects/portkey.ts'

const HELP = `Usage: npm run bench -- [--only PART[,PART]] [--quick] [--rounds N] [--json] [--write] [--list] [--help]

Measures MESH with everything on beside others that stand between a client and a provider, on this machine alone. The
server under test has one core for itself; load, provider and database share another. Run it on a quiet machine.

  --only PART,…   these parts, and no others
  --quick         one short round of each: to see that it runs, not to be quoted
  --rounds N      so many rounds of each measurement (default 3); medians are shown
  --json          the results as JSON in place of tables
  --write         writes them into docs/performance.md too, beside what other parts left there
  --list          names the parts
  --help          show this
`

const SECONDS = 5
const QUICK_SECONDS = 2
/** V8 compiles a call's path for tens of thousands of calls before it leaves it alone. */
const WARM_UP_SECONDS = 20

/** Words that cannot be understood. */
class UsageError extends Error {
  override readonly name = 'UsageError'
}

function readWords(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      options: {
        only: { type: 'string' },
        quick: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        json: { type: 'boolean', default: false },
        write: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values
  } catch {
    throw new UsageError('There is no such option. See: npm run bench -- --help')
  }
}

function partNamed(name: string): Part {
  const part = ALL_PARTS.find((each) => each.name === name.trim())
  if (part) return part
  throw new UsageError(`There is no such part. There are: ${ALL_PARTS.map((each) => each.name).join(', ')}.`)
}

function roundsOf(text: string | undefined, isQuick: boolean): number {
  if (text === undefined) return isQuick ? 1 : 3
  if (/^[1-9]\d?$/.test(text)) return Number(text)
  throw new UsageError('--rounds wants a whole number from 1 to 99.')
}

function openBench(rounds: number, isQuick: boolean): Bench {
  if (process.platform !== 'linux')
    throw new UsageError('The bench reads CPU time from /proc: it needs Linux.')
  const cores = chooseCores()
  const nginx = spawnSync('nginx', ['-v']).status === 0 ? 'nginx' : undefined
  const nginxSubject =
    nginx === undefined
      ? { name: 'nginx, plain proxy', why: 'there is no nginx on this machine' }
      : nginxProxy(nginx, cores?.server)
  return {
    cores,
    load: h2load() ?? socketLoad,
    nginx,
    others: [nginxSubject, bareProxy(cores?.server), portkey(cores?.server)],
    rounds,
    seconds: isQuick ? QUICK_SECONDS : SECONDS,
    warmUpSeconds: isQuick ? QUICK_SECONDS : WARM_UP_SECONDS,
    isQuick,
    tell: (text) => void process.stderr.write(`${text}\n`),
  }
}

async function main(words: readonly string[]): Promise<void> {
  const wishes = readWords(words)
  if (wishes.help) return void process.stdout.write(HELP)
  if (wishes.list) {
    const lines = ALL_PARTS.map(({ name, meaning }) => `${name.padEnd(14)} ${meaning}\n`)
    return void process.stdout.write(lines.join(''))
  }
  const parts = wishes.only === undefined ? ALL_PARTS : wishes.only.split(',').map(partNamed)
  const bench = openBench(roundsOf(wishes.rounds, wishes.quick), wishes.quick)
  const results: Record<string, Recorded> = {}
  for (const part of parts) {
    bench.tell(`== ${part.name}`)
    if (bench.cores) pin(process.pid, part.usesAllCores ? 'all' : bench.cores.rest)
    const date = new Date().toISOString().slice(0, 10)
    const pinning = bench.cores ? '' : ', nothing pinned'
    results[part.name] = {
      machine: `${describeMachine()}${pinning}`,
      date,
      command: ['npm run bench --', ...words].join(' '),
      ...(await part.run(bench)),
    }
  }
  process.stdout.write(wishes.json ? `${JSON.stringify(results, undefined, 2)}\n` : `${plainText(results)}\n`)
  if (wishes.write) writePage(results)
}

process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))
main(process.argv.slice(2)).catch((error: unknown) => {
  const isUsage = error instanceof UsageError
  process.stderr.write(`${isUsage ? error.message : String(error instanceof Error ? error.stack : error)}\n`)
  process.exit(isUsage ? 2 : 1)
})
