/**
 * Says how much of the world MESH speaks: `npm run conformance`. Every model and endpoint is asked through the official
 * client with a test key, and every recorded exchange with a provider is decoded and encoded again. The figures are
 * those that the tests themselves print; a test that fails fails the run.
 */
import { existsSync, globSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from 'node:test'
import { startTestPostgres } from '../apps/router/test/support/test-postgres.ts'

const ROOT = join(import.meta.dirname, '..')
const TRANSCRIPTS = join(ROOT, '../shared/transcripts')
const RECORDED_TESTS = 'packages/engine/src/**/*recorded*.test.ts'
const MODEL_TEST = 'apps/router/test/every-model.test.ts'

/** `gemini: decoded 123 of 123`, `bedrock, event stream: re-encoded 68 of 76 requests`. */
const RECORDED = /^([a-z]+)[^:]*: (decoded|re-encoded) (\d+) of (\d+)/
const COUNTED = /^\d+ of \d+ (models|providers|endpoints)$/
const LEFT_OUT = /not covered/

type Side = 'decoded' | 're-encoded'

interface Count {
  right: number
  all: number
}

/** What tests said, in the order in which they said it. */
class Findings {
  readonly recorded = new Map<string, Record<Side, Count>>()
  readonly counted: string[] = []
  readonly leftOut: string[] = []
  readonly failed: string[] = []

  note(message: string): void {
    const [, provider, side, right, all] = RECORDED.exec(message) ?? []
    if (provider !== undefined && (side === 'decoded' || side === 're-encoded')) {
      const counts = this.recorded.get(provider) ?? {
        decoded: { right: 0, all: 0 },
        're-encoded': { right: 0, all: 0 },
      }
      counts[side].right += Number(right)
      counts[side].all += Number(all)
      this.recorded.set(provider, counts)
    } else if (COUNTED.test(message)) this.counted.push(message)
    else if (LEFT_OUT.test(message)) this.leftOut.push(message)
  }

  sum(side: Side): Count {
    const total: Count = { right: 0, all: 0 }
    for (const counts of this.recorded.values()) {
      total.right += counts[side].right
      total.all += counts[side].all
    }
    return total
  }
}

async function listen(files: readonly string[], findings: Findings): Promise<void> {
  const events = run({ files: [...files], cwd: ROOT, concurrency: 2, timeout: 300_000 })
  events.on('test:diagnostic', ({ message }) => findings.note(message))
  events.on('test:fail', ({ name, details }) => {
    if (details.type !== 'suite') findings.failed.push(name)
  })
  for await (const _event of events);
}

function recordedCount(): number {
  return readdirSync(TRANSCRIPTS, { recursive: true }).filter((file) => String(file).endsWith('.json')).length
}

function tableOf({ recorded }: Findings): string {
  const shown = ({ right, all }: Count): string => (all === 0 ? '–' : `${right} of ${all}`)
  const rows = [...recorded]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([provider, counts]) => [provider, shown(counts.decoded), shown(counts['re-encoded'])])
  return [['recorded at', 'answers decoded', 'requests re-encoded'], ...rows]
    .map(
      ([provider = '', ...counts]) =>
        `${provider.padEnd(14)}${counts.map((count) => count.padEnd(22)).join('')}`,
    )
    .map((line) => line.trimEnd())
    .join('\n')
}

async function main(): Promise<boolean> {
  const findings = new Findings()
  if (existsSync(TRANSCRIPTS)) await listen(globSync(RECORDED_TESTS, { cwd: ROOT }).sort(), findings)
  const postgres = await startTestPostgres()
  process.env.MESH_TEST_POSTGRES = JSON.stringify(postgres.server)
  try {
    await listen([MODEL_TEST], findings)
  } finally {
    await postgres.stop()
  }
  console.log(tableOf(findings))
  if (findings.leftOut.length > 0) {
    console.log('\nRequests that OpenAI has no words for, and answers that are none:')
    for (const line of findings.leftOut) console.log(`  ${line}`)
  }
  for (const name of findings.failed) console.log(`FAILED  ${name}`)
  const exchanges = existsSync(TRANSCRIPTS)
    ? `${findings.sum('decoded').right} of ${recordedCount()} recorded exchanges (the others are refusals, token counts and answers queued in the background)`
    : 'no recorded exchanges: ../shared/transcripts is not there'
  console.log(`\n${[...findings.counted, exchanges].join(', ')}`)
  return findings.failed.length === 0 && findings.counted.length === 3
}

process.exitCode = (await main()) ? 0 : 1
