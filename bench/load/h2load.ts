import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ACCEPTS, requestBody } from '../work.ts'
import { type Load, type LoadResult, type LoadTarget, percentiles } from './load.ts'

/** nghttp2's generator, where it is installed: it costs the core that it shares the least. */
export function h2load(): Load | undefined {
  const found = spawnSync('h2load', ['--version'], { encoding: 'utf8' })
  if (found.status !== 0) return undefined
  return {
    name: found.stdout.trim(),
    closedLoop: (target, connections, seconds) => run(target, connections, seconds, []),
    fixedRate: (target, perSecond, seconds) => {
      const clients = Math.min(20, perSecond)
      return run(target, clients, seconds, [`--rps=${perSecond / clients}`])
    },
  }
}

async function run(
  { port, kind, headers }: LoadTarget,
  connections: number,
  seconds: number,
  words: readonly string[],
): Promise<LoadResult> {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-bench-load-'))
  try {
    const bodyFile = join(folder, 'body')
    const logFile = join(folder, 'log')
    await writeFile(bodyFile, requestBody(kind))
    const lines = { 'content-type': 'application/json', accept: ACCEPTS[kind], ...headers }
    const child = spawn(
      'h2load',
      [
        '--h1',
        `--clients=${connections}`,
        `--duration=${seconds}`,
        `--data=${bodyFile}`,
        `--log-file=${logFile}`,
        ...words,
        ...Object.entries(lines).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
        `http://127.0.0.1:${port}/v1/chat/completions`,
      ],
      { stdio: ['ignore', 'ignore', 'ignore'] },
    )
    await once(child, 'close')
    return readLog(await readFile(logFile, 'utf8'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** A line of the log is when a request began, its status, and how long it took, both in microseconds. */
function readLog(log: string): LoadResult {
  const latenciesMs: number[] = []
  let failed = 0
  let firstUs = Number.POSITIVE_INFINITY
  let lastUs = 0
  for (const line of log.split('\n')) {
    const [started = '', status = '', took = ''] = line.split('\t')
    if (took === '') continue
    firstUs = Math.min(firstUs, Number(started))
    lastUs = Math.max(lastUs, Number(started) + Number(took))
    if (status === '200') latenciesMs.push(Number(took) / 1_000)
    else failed++
  }
  const seconds = Math.max(0, lastUs - firstUs) / 1_000_000
  return { calls: latenciesMs.length, failed, seconds, ...percentiles(latenciesMs) }
}
