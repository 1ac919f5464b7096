import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Cores, pin } from '../machine/cores.ts'
import { treeOf } from '../machine/process-tree.ts'
import { firstLine, type Program, startProgram } from '../machine/program.ts'
import { MODEL } from '../work.ts'
import type { Running, Subject } from './subject.ts'

const MAIN = join(import.meta.dirname, '../../apps/router/src/main.ts')

/** One account may run a quarter of a router's calls at most. */
const ACCOUNTS = 4

/** The router under test, with its embedded PostgreSQL on the other core. */
export interface RunningMesh extends Running {
  readonly home: string
  readonly url: string
}

export interface MeshSubject extends Subject {
  start(upstreamPort: number): Promise<RunningMesh>
}

export interface MeshOptions {
  readonly cores: Cores | undefined
  readonly name?: string
  /** Words before the program's own, for Node. */
  readonly nodeWords?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** Whether the key has every limit there is, none of which is ever reached. */
  readonly hasLimits?: boolean
}

/**
 * MESH as an operator starts it, on a home of its own, with a live key that has credit and limits: nothing that a
 * paying caller's call goes through is left out.
 */
export function meshRouter(options: MeshOptions): MeshSubject {
  return {
    name: options.name ?? 'MESH, everything on',
    async start(upstreamPort) {
      const home = await newHome()
      const program = startRouter(options, home, upstreamPort)
      const { url, adminKeyFile } = JSON.parse(await firstLine(program))
      const postmaster = await postmasterOf(home)
      // The router started it, on its own core.
      for (const pid of treeOf(postmaster)) pin(pid, options.cores?.rest)
      const adminKey = (await readFile(adminKeyFile, 'utf8')).trim()
      const callers: { authorization: string }[] = []
      for (let account = 0; account < ACCOUNTS; account++) {
        const key = await makeLiveKey(url, adminKey, options.hasLimits !== false)
        callers.push({ authorization: `Bearer ${key}` })
      }
      return {
        url,
        home,
        port: Number(new URL(url).port),
        program,
        headers: { ...callers[0] },
        callers,
        serverPids: () => treeOf(program.pid).filter((pid) => !treeOf(postmaster).includes(pid)),
        databasePids: () => treeOf(postmaster),
        async stop() {
          await program.stop()
          await removeHome(home)
        },
      }
    },
  }
}

/** A `MESH_HOME`, which PostgreSQL's unprivileged user can reach where the bench runs as root. */
export async function newHome(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'mesh-bench-'))
  await chmod(parent, 0o755)
  return join(parent, 'home')
}

export async function removeHome(home: string): Promise<void> {
  await rm(join(home, '..'), { recursive: true, force: true })
}

export async function postmasterOf(home: string): Promise<number> {
  return Number((await readFile(join(home, 'postgres/data/postmaster.pid'), 'utf8')).split('\n', 1)[0])
}

function startRouter(options: MeshOptions, home: string, upstreamPort: number): Program {
  const words = [...(options.nodeWords ?? []), MAIN, '--quiet']
  return startProgram(process.execPath, words, {
    core: options.cores?.server,
    environment: {
      MESH_HOME: home,
      PORT: '0',
      OPENAI_API_KEY: 'sk-bench',
      MESH_OPENAI_BASE_URL: `http://127.0.0.1:${upstreamPort}/v1`,
      ...options.environment,
    },
  })
}

/** More than any run can spend. */
const CREDIT_USD = '10000000.00'
const LIMITS = {
  requestsPerMinute: 100_000_000,
  tokensPerMinute: 1_000_000_000_000,
  maxConcurrentRequests: 1_000_000,
  monthlyRequestLimit: 1_000_000_000,
  monthlyTokenLimit: 1_000_000_000_000,
  dailyUsdLimit: CREDIT_USD,
  monthlyUsdLimit: CREDIT_USD,
  totalUsdLimit: CREDIT_USD,
  allowedModels: [MODEL],
}

async function makeLiveKey(url: string, adminKey: string, hasLimits: boolean): Promise<string> {
  const { id } = await operate(url, adminKey, '/v1/accounts', { name: 'Bench' })
  const grant = { amountUsd: CREDIT_USD, reason: 'bench', livemode: true }
  await operate(url, adminKey, `/v1/accounts/${id}/grants`, grant)
  const { secret } = await operate(url, adminKey, '/v1/api-keys', {
    name: 'Bench',
    accountId: id,
    livemode: true,
    scopes: ['chat', 'usage'],
    ...(hasLimits ? { limits: LIMITS } : {}),
  })
  return String(secret)
}

async function operate(
  url: string,
  key: string,
  path: string,
  body: object,
): Promise<Record<string, unknown>> {
  const answer = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`)
  return JSON.parse(text)
}
