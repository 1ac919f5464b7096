import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installSdk } from '../../../../packages/sdk/test/support/packed-sdk.ts'
import { type Language, ROOT, type Snippet } from './doc-snippets.ts'
import { createTestDatabase } from './test-database.ts'
import { ADMIN_KEY, connectionUrl, signingKeyOf, startTestRouter, type TestRouter } from './test-router.ts'

/** Origins that pages write; in their place stands the router of the test. */
const WRITTEN_ORIGINS = ['http://localhost:8787', 'https://api.meshrouter.app']
const SNIPPET_MAX_MS = 60_000
const OUTPUT_BYTES_MAX = 4_194_304

/** A Python that has OpenAI's client: the one that `.ci/run` installs, or the machine's own where that has it. */
const PYTHONS = [join(ROOT, '.prepare/python/bin/python'), 'python3']

export interface Printed {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs examples of one page in a folder of their own, with an account of their own, against one router. */
export interface PageRunner {
  run(snippet: Snippet): Promise<Printed>
  close(): Promise<void>
}

export interface DocRouter {
  readonly mesh: TestRouter
  /** In an empty folder, or in a copy of one of the project's. */
  page(copied?: string): Promise<PageRunner>
  stop(): Promise<void>
}

/** A router for examples, whose database the operators' commands of a page reach too. */
export async function startDocRouter(): Promise<DocRouter> {
  const database = await createTestDatabase()
  const mesh = await startTestRouter({ on: database })
  const folder = await mkdtemp(join(tmpdir(), 'mesh-docs-'))
  const signingKeyFile = join(folder, 'signing-key.pem')
  await writeFile(signingKeyFile, signingKeyOf(database), { mode: 0o600 })
  const opsEnvironment = {
    DATABASE_URL: connectionUrl(database.connection),
    MESH_SIGNING_KEY_FILE: signingKeyFile,
    MESH_ADMIN_KEY: ADMIN_KEY,
  }
  // What a page installs lies in its own node_modules, and this is where Node looks for everything else.
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const sdk = await installSdk(join(folder, 'installed'))
  return {
    mesh,
    page: (copied) => newPage(mesh, opsEnvironment, { parent: folder, sdk, copied }),
    async stop() {
      await mesh.stop()
      await database.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function newPage(
  mesh: TestRouter,
  opsEnvironment: Readonly<Record<string, string>>,
  {
    parent,
    sdk,
    copied,
  }: { readonly parent: string; readonly sdk: string; readonly copied: string | undefined },
): Promise<PageRunner> {
  const { key } = await mesh.account()
  const folder = await mkdtemp(join(parent, 'page-'))
  if (copied !== undefined) await cp(join(ROOT, copied), folder, { recursive: true })
  await mkdir(join(folder, 'node_modules/@meshrouter'), { recursive: true })
  await symlink(sdk, join(folder, 'node_modules/@meshrouter/sdk'))
  const env = {
    ...process.env,
    ...opsEnvironment,
    PATH: `${join(parent, 'installed/.bin')}:${join(ROOT, 'node_modules/.bin')}:${process.env.PATH}`,
    HOME: folder,
    INIT_CWD: folder,
    NODE_NO_WARNINGS: '1',
    MESH_API_KEY: key,
    MESH_BASE_URL: mesh.baseUrl,
    OPENAI_API_KEY: key,
    OPENAI_BASE_URL: mesh.baseUrl,
  }
  let count = 0
  return {
    async run({ language, code }) {
      const here = WRITTEN_ORIGINS.reduce((text, origin) => text.replaceAll(origin, mesh.url), code)
      const [program, args] = await commandOf(language, here, join(folder, `snippet-${++count}`))
      return await execute(program, args, { cwd: folder, env })
    },
    close: () => rm(folder, { recursive: true, force: true }),
  }
}

async function commandOf(
  language: Language,
  code: string,
  file: string,
): Promise<[program: string, args: string[]]> {
  if (language === 'sh') return ['bash', ['-e', '-o', 'pipefail', '-c', withoutNpm(code)]]
  const { program, ending } = {
    js: { program: process.execPath, ending: '.mjs' },
    ts: { program: process.execPath, ending: '.mts' },
    python: { program: pythonWithOpenAi() ?? 'python3', ending: '.py' },
  }[language]
  await writeFile(file + ending, code)
  return [program, [file + ending]]
}

/** npm starts where a package.json is; what it would start is started in the page's own folder. */
function withoutNpm(code: string): string {
  const ops = `"${process.execPath}" "${join(ROOT, 'apps/router/src/ops.ts')}"`
  return code.replaceAll(/npm run (?:--silent )?ops --/g, ops)
}

let foundPython: string | null | undefined

/** A Python that can import `openai`; undefined where there is none. */
export function pythonWithOpenAi(): string | undefined {
  foundPython ??=
    PYTHONS.filter((program) => !program.includes('/') || existsSync(program)).find(
      (program) => spawnSync(program, ['-c', 'import openai'], { timeout: SNIPPET_MAX_MS }).status === 0,
    ) ?? null
  return foundPython ?? undefined
}

function execute(
  program: string,
  args: readonly string[],
  { cwd, env }: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Promise<Printed> {
  const bounds = { cwd, env, timeout: SNIPPET_MAX_MS, maxBuffer: OUTPUT_BYTES_MAX }
  return new Promise((done) => {
    const child = execFile(program, [...args], bounds, (error, stdout, stderr) => {
      done({ code: error ? (child.exitCode ?? 1) || 1 : 0, stdout, stderr })
    })
    child.stdin?.end()
  })
}
