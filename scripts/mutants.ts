/**
 * Breaks one rule of money or privacy at a time, in a copy of the project, and sees a test notice: `npm run mutants`.
 * A mutation that no test notices, or that no longer applies, fails the run.
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, sep } from 'node:path'
import { run } from 'node:test'
import { parseArgs } from 'node:util'
import { startTestPostgres } from '../apps/router/test/support/test-postgres.ts'
import { MUTATIONS } from './mutations/list.ts'
import type { Mutation } from './mutations/mutation.ts'

const ROOT = join(import.meta.dirname, '..')
/** Copies that are worked on at once. */
const LANES_MAX = 2
/** Every rule must be noticed within this time; a test that hangs has noticed too. */
const TEST_TIMEOUT_MS = 240_000

const HELP = `Usage: npm run mutants -- [--only TEXT] [--list] [--help]

Breaks each rule of the list (scripts/mutations) in a copy of the project, and runs the test that must notice.
Exit code 1 where a test stays green.

  --only TEXT   those whose rule, file or test holds the text
  --list        print the rules and stop
`

/** A copy of the project to break things in. It shares what was installed, and no source. */
async function makeCopy(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'mesh-mutant-'))
  await cp(ROOT, copy, {
    recursive: true,
    filter: (source) => !['node_modules', '.git', '.mesh'].includes(basename(source)),
  })
  for (const folder of await foldersWithPackages()) {
    await linkPackages(join(ROOT, folder, 'node_modules'), join(copy, folder, 'node_modules'), copy)
  }
  return copy
}

async function foldersWithPackages(): Promise<string[]> {
  const workspaces = ['apps', 'packages'].map(async (parent) =>
    (await readdir(join(ROOT, parent))).map((name) => join(parent, name)),
  )
  const folders = ['.', ...(await Promise.all(workspaces)).flat()]
  const installed = await Promise.all(
    folders.map(async (folder) => ((await isFolder(join(ROOT, folder, 'node_modules'))) ? [folder] : [])),
  )
  return installed.flat()
}

async function isFolder(path: string): Promise<boolean> {
  return await readdir(path).then(
    () => true,
    () => false,
  )
}

/** Links every installed package; those of the project itself point into the copy. */
async function linkPackages(from: string, to: string, copy: string): Promise<void> {
  await mkdir(to, { recursive: true })
  for (const name of await readdir(from)) {
    if (name !== '@mesh') await symlink(join(from, name), join(to, name))
  }
  if (!(await isFolder(join(from, '@mesh')))) return
  await mkdir(join(to, '@mesh'))
  for (const name of await readdir(join(from, '@mesh'))) {
    const workspace = name === 'router' ? 'apps' : 'packages'
    await symlink(join(copy, workspace, name), join(to, '@mesh', name))
  }
}

interface Verdict {
  readonly failed: readonly string[]
  readonly passed: number
}

/** Runs a test file of a copy, until the first test fails. */
async function runTest(copy: string, test: string, named: string | undefined): Promise<Verdict> {
  const stop = new AbortController()
  const failed: string[] = []
  let passed = 0
  const events = run({
    cwd: copy,
    files: [join(copy, test)],
    isolation: 'process',
    timeout: TEST_TIMEOUT_MS,
    signal: stop.signal,
    ...(named === undefined ? {} : { testNamePatterns: [new RegExp(escapeRegExp(named))] }),
  })
  events.on('test:fail', ({ name }) => {
    failed.push(name)
    stop.abort()
  })
  events.on('test:pass', ({ name, skip }) => {
    if (skip === undefined && !name.endsWith(sep + basename(test))) passed++
  })
  for await (const _event of events);
  return { failed, passed }
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

/** Breaks the rule, sees what the test says, and mends it. Resolves to a sentence where nothing was noticed. */
async function tryMutation(copy: string, mutation: Mutation): Promise<string | undefined> {
  const file = join(copy, mutation.file)
  const sound = await readFile(file, 'utf8')
  const places = sound.split(mutation.from).length - 1
  if (places !== 1) return `its text occurs ${places} times in ${mutation.file}`
  await writeFile(
    file,
    sound.replace(mutation.from, () => mutation.to),
  )
  try {
    const { failed, passed } = await runTest(copy, mutation.test, mutation.named)
    if (failed.length > 0) return undefined
    return passed === 0 ? `no test ran in ${mutation.test}` : `${mutation.test} stayed green`
  } finally {
    await writeFile(file, sound)
  }
}

/** What a test says of the sound project: a test that is red already notices nothing. */
async function redBefore(copy: string, mutations: readonly Mutation[]): Promise<string[]> {
  const red: string[] = []
  const tests = new Map(mutations.map(({ test, named }) => [`${test}\n${named ?? ''}`, { test, named }]))
  for (const { test, named } of tests.values()) {
    const { failed } = await runTest(copy, test, named)
    if (failed.length > 0) red.push(`${test} is red before anything is broken: ${failed[0]}`)
  }
  return red
}

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: { only: { type: 'string' }, list: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) {
    process.stdout.write(HELP)
    return true
  }
  const { only = '' } = values
  const chosen = MUTATIONS.filter(({ breaks, file, test }) => `${breaks} ${file} ${test}`.includes(only))
  if (values.list) {
    for (const { breaks, file, test } of chosen) console.log(`${breaks}\n  ${file} → ${test}`)
    return true
  }
  if (chosen.length === 0) {
    console.log('No mutation of the list holds that text. See: npm run mutants -- --list')
    return false
  }
  return await runMutations(chosen)
}

async function runMutations(chosen: readonly Mutation[]): Promise<boolean> {
  const postgres = await startTestPostgres()
  process.env.MESH_TEST_POSTGRES = JSON.stringify(postgres.server)
  const copies: string[] = []
  try {
    const lanes = Math.min(LANES_MAX, chosen.length)
    for (let lane = 0; lane < lanes; lane++) copies.push(await makeCopy())
    const complaints = await redBefore(copies[0] ?? '', chosen)
    for (const complaint of complaints) console.log(complaint)
    if (complaints.length > 0) return false
    const waiting = [...chosen]
    let noticed = 0
    const work = async (copy: string): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const complaint = await tryMutation(copy, next)
        if (complaint === undefined) noticed++
        console.log(`${complaint === undefined ? 'noticed ' : 'MISSED  '} ${next.breaks}`)
        if (complaint !== undefined) console.log(`         ${complaint}`)
      }
    }
    await Promise.all(copies.map(work))
    console.log(`\n${noticed} of ${chosen.length} broken rules were noticed`)
    return noticed === chosen.length
  } finally {
    await Promise.all(copies.map((copy) => rm(copy, { recursive: true, force: true })))
    await postgres.stop()
  }
}

process.exitCode = (await main()) ? 0 : 1
