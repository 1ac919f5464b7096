/**
 * Packs `@meshrouter/sdk` as it is published: `npm run sdk -- [FOLDER]`. Prints the size of what users download and
 * of what they load, and fails where publint or attw find fault with it.
 */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..')
const PACKAGE = join(ROOT, 'packages/sdk')
const BIN = join(ROOT, 'node_modules/.bin')

export interface Packed {
  readonly tarball: string
  /** What is downloaded, and what it is unpacked. */
  readonly packedBytes: number
  readonly unpackedBytes: number
  /** The JavaScript of the client alone: what a page would load, before it is minified. */
  readonly clientBytes: number
  readonly files: readonly string[]
}

/** Builds in a folder of its own, so that nothing is left in the source and several may build at once. */
export async function packSdk(folder: string): Promise<Packed> {
  const stage = await mkdtemp(join(tmpdir(), 'mesh-sdk-stage-'))
  try {
    for (const file of ['package.json', 'README.md', 'LICENSE']) {
      await cp(join(PACKAGE, file), join(stage, file))
    }
    await run(join(BIN, 'tsc'), ['-p', join(PACKAGE, 'tsconfig.json'), '--outDir', join(stage, 'dist')])
    const options = ['pack', '--ignore-scripts', '--json', '--pack-destination', resolve(folder)]
    const { stdout } = await run('npm', options, { cwd: stage })
    const [{ filename, size, unpackedSize, files }] = JSON.parse(stdout)
    return {
      tarball: join(resolve(folder), filename),
      packedBytes: size,
      unpackedBytes: unpackedSize,
      clientBytes: await clientBytes(join(stage, 'dist')),
      files: files.map(({ path }: { path: string }) => path),
    }
  } finally {
    await rm(stage, { recursive: true, force: true })
  }
}

async function clientBytes(dist: string): Promise<number> {
  const files = (await readdir(dist, { recursive: true })).filter(
    (file) => file.endsWith('.js') && !file.startsWith('command'),
  )
  const sizes = await Promise.all(files.map(async (file) => (await stat(join(dist, file))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** The ways in which an ESM-only package is not looked for: by `require`, and by what knows no `exports`. */
const NOT_FOR: readonly unknown[] = ['node10', 'node16-cjs']

/** What publint and attw find wrong with a package, as Node, TypeScript and bundlers look at one. */
export async function faultsOf(tarball: string): Promise<string[]> {
  const file = await readFile(tarball)
  const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength)
  const { messages, pkg } = await publint({ pack: { tarball: bytes }, strict: true })
  const analysis = await checkPackage(createPackageFromTarballData(new Uint8Array(bytes)))
  const problems = analysis.types ? analysis.problems : [{ kind: 'NoTypes' }]
  return [
    ...messages.map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`),
    ...problems
      .filter((problem) => !('resolutionKind' in problem && NOT_FOR.includes(problem.resolutionKind)))
      .map((problem) => `attw: ${JSON.stringify(problem)}`),
  ]
}

if (import.meta.main) {
  const packed = await packSdk(process.argv[2] ?? '.')
  const faults = await faultsOf(packed.tarball)
  for (const fault of faults) console.error(fault)
  if (faults.length > 0) process.exitCode = 1
  const kilobytes = (bytes: number) => `${(bytes / 1024).toFixed(1)} kB`
  console.log(packed.tarball)
  console.log(`packed ${kilobytes(packed.packedBytes)}, unpacked ${kilobytes(packed.unpackedBytes)}`)
  console.log(`the client alone, not minified: ${kilobytes(packed.clientBytes)} beside openai itself`)
}
