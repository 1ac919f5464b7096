import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { median } from '../load/load.ts'
import { proportionalBytes, treeOf } from '../machine/process-tree.ts'
import { firstLine, type Program, startProgram } from '../machine/program.ts'
import type { Part } from '../part.ts'
import { newHome, postmasterOf, removeHome } from '../subjects/mesh.ts'
import { requestBody } from '../work.ts'

const PROJECT = join(import.meta.dirname, '../..')
const IDLE_AFTER_MS = 5_000

interface Starts {
  readonly firstMs: number
  readonly laterMs: number
  readonly idleBytes: number
}

/** `npm start` on a new home and on one that is there, until a call has been answered; and what it takes when idle. */
export const starts: Part = {
  name: 'starts',
  meaning: 'npm start to the first answered call, first and later, and idle memory',
  usesAllCores: true,
  async run(bench) {
    const found: Starts[] = []
    for (let round = 0; round < bench.rounds; round++) {
      bench.tell(`starts, round ${round + 1}`)
      found.push(await startTwice())
    }
    const of = (column: keyof Starts): number => median(found.map((starts) => starts[column]))
    const figures = {
      firstStartMs: of('firstMs'),
      laterStartMs: of('laterMs'),
      idleMegabytes: of('idleBytes') / 1_000_000,
    }
    const rows = [
      ['first start, a new home', `${(figures.firstStartMs / 1_000).toFixed(2)} s`],
      ['later start, the same home', `${(figures.laterStartMs / 1_000).toFixed(2)} s`],
      ['idle, router and PostgreSQL (PSS)', `${figures.idleMegabytes.toFixed(0)} MB`],
    ]
    const title = '`npm start`, packages installed, to the first answered call; not pinned'
    return { tables: [{ title, columns: ['', ''], rows }], figures, notes: [] }
  },
}

async function startTwice(): Promise<Starts> {
  const home = await newHome()
  let key = ''
  const startAndCall = async (): Promise<{ program: Program; tookMs: number }> => {
    const startedAtMs = performance.now()
    const program = startProgram('npm', ['start', '--silent', '--', '--quiet'], {
      core: undefined,
      folder: PROJECT,
      environment: { MESH_HOME: home, PORT: '0' },
    })
    const { url, testKey } = JSON.parse(await firstLine(program))
    key = testKey ?? key
    await callOnce(url, key)
    return { program, tookMs: performance.now() - startedAtMs }
  }
  try {
    const first = await startAndCall()
    await pause(IDLE_AFTER_MS)
    // npm, which started it, is no part of it.
    const router = routerUnder(first.program)
    const idleBytes = proportionalBytes([
      ...new Set([...treeOf(router), ...treeOf(await postmasterOf(home))]),
    ])
    await stop(first.program, router)
    const later = await startAndCall()
    await stop(later.program, routerUnder(later.program))
    return { firstMs: first.tookMs, laterMs: later.tookMs, idleBytes }
  } finally {
    await removeHome(home)
  }
}

async function callOnce(url: string, key: string): Promise<void> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: requestBody('json'),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`the first call: ${answer.status} ${text}`)
}

function routerUnder({ pid }: Program): number {
  const router = treeOf(pid).find((each) => {
    const words = readFileSync(`/proc/${each}/cmdline`, 'utf8').split('\0')
    return words.some((word) => word.endsWith('apps/router/src/main.ts')) && !words.includes('-c')
  })
  if (router === undefined) throw new Error('npm start runs no router')
  return router
}

async function stop(program: Program, router: number): Promise<void> {
  process.kill(router, 'SIGTERM')
  await program.ended
}
