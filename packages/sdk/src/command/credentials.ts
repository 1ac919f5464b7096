import { readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { MeshClientError } from '../errors.ts'
import { requireMeshKey } from '../mesh-key.ts'
import type { Environment } from './command.ts'
import { CommandError } from './exit-codes.ts'

/** A key, and where it was found. */
export interface FoundKey {
  readonly key: string
  readonly source: string
}

/** What a key looks like in the middle of anything. */
const KEY_IN_TEXT = /mesh_(?:live|test)_[0-9A-Za-z]{16,}/
const OTHERS_MODE = 0o077

/** `~/.config/meshrouter/key`, or where the machine keeps such files. */
function defaultKeyFile(environment: Environment): string {
  const { XDG_CONFIG_HOME, APPDATA } = environment
  const folder = XDG_CONFIG_HOME || APPDATA || join(environment.HOME || homedir(), '.config')
  return join(folder, 'meshrouter', 'key')
}

/**
 * The key: `MESH_API_KEY`, the file that `MESH_API_KEY_FILE` names, `OPENAI_API_KEY` where that is a MESH key, or the
 * default file. Files must be their owner's alone.
 * @throws CommandError `noKey`
 */
export async function findKey(environment: Environment): Promise<FoundKey> {
  const { MESH_API_KEY, MESH_API_KEY_FILE, OPENAI_API_KEY } = environment
  if (MESH_API_KEY) return checked(MESH_API_KEY, 'MESH_API_KEY')
  if (MESH_API_KEY_FILE) return readKeyFile(MESH_API_KEY_FILE)
  if (OPENAI_API_KEY?.startsWith('mesh_')) return checked(OPENAI_API_KEY, 'OPENAI_API_KEY')
  const file = defaultKeyFile(environment)
  const isThere = await stat(file).then(
    () => true,
    () => false,
  )
  if (isThere) return readKeyFile(file)
  throw new CommandError(
    'noKey',
    `There is no MESH key. Set MESH_API_KEY, or put the key into ${file} with mode 0600.`,
  )
}

async function readKeyFile(file: string): Promise<FoundKey> {
  const [status, text] = await Promise.all([stat(file), readFile(file, 'utf8')]).catch(() => {
    throw new CommandError('noKey', `The key file ${file} cannot be read.`)
  })
  if (process.platform !== 'win32' && (status.mode & OTHERS_MODE) !== 0) {
    throw new CommandError(
      'noKey',
      `Others may read the key file ${file}, so it is not used. Make it yours alone: chmod 600 ${file}`,
    )
  }
  return checked(text, file)
}

function checked(key: string, source: string): FoundKey {
  try {
    return { key: requireMeshKey(key.trim(), source), source }
  } catch (error) {
    throw error instanceof MeshClientError ? new CommandError('noKey', error.message) : error
  }
}

/**
 * Refuses a command line that holds a key: other users see it there, and the shell remembers it.
 * @throws CommandError `usage`
 */
export function requireNoKeys(words: readonly string[], environment: Environment): void {
  if (!words.some((word) => KEY_IN_TEXT.test(word))) return
  throw new CommandError(
    'usage',
    `A key does not belong on the command line, where others see it and the shell remembers it. Set MESH_API_KEY, or put it into ${defaultKeyFile(environment)} with mode 0600; and rotate this key.`,
  )
}
