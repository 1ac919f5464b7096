import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { packSdk } from '../../../../scripts/sdk.ts'

const run = promisify(execFile)
const ROOT = resolve(import.meta.dirname, '../../../..')

export type OpenAIMajor = 6 | 7

/** A project with nothing in it but the packed SDK and one major of OpenAI's client. */
export interface EmptyProject {
  readonly folder: string
  /** The module that `import '@meshrouter/sdk'` gives there. */
  readonly entry: string
  /** The command as npm would link it. */
  readonly command: string
  remove(): Promise<void>
}

/** Packs the SDK as it would be published, and unpacks it into a folder of `node_modules`. Asks no registry. */
export async function installSdk(modules: string): Promise<string> {
  const sdk = join(modules, '@meshrouter/sdk')
  await mkdir(sdk, { recursive: true })
  const { tarball } = await packSdk(modules)
  await run('tar', ['-xzf', tarball, '-C', sdk, '--strip-components=1'])
  await rm(tarball)
  const command = join(sdk, 'dist/command/main.js')
  await chmod(command, 0o755)
  await mkdir(join(modules, '.bin'), { recursive: true })
  await symlink('../@meshrouter/sdk/dist/command/main.js', join(modules, '.bin/meshrouter'))
  return sdk
}

/** Makes such a project, as npm would. */
export async function emptyProject(major: OpenAIMajor): Promise<EmptyProject> {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-sdk-'))
  const modules = join(folder, 'node_modules')
  const sdk = await installSdk(modules)
  // It needs nothing else of node_modules, so a link does what a copy would.
  await symlink(join(ROOT, 'node_modules', major === 7 ? 'openai' : 'openai-6'), join(modules, 'openai'))
  return {
    folder,
    entry: join(sdk, 'dist/sdk.js'),
    command: join(sdk, 'dist/command/main.js'),
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}
