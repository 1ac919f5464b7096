import { randomBytes } from 'node:crypto'
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SHARED_FOLDER } from './postgres-binaries.ts'
import { socketFits } from './postgres-server.ts'
import { StartupError } from './startup-error.ts'
import { canEnter, isRoot, type SystemUser, unprivilegedUser, userOf } from './system-user.ts'

/** Where the embedded database lies, and whom it belongs to. */
export interface DataFolder {
  /** Holds the cluster (`data`), its password, its log, and its socket's folder (`run`). */
  readonly folder: string
  readonly dataFolder: string
  readonly passwordFile: string
  readonly logFile: string
  /** Whom PostgreSQL runs as; `undefined` is this process's own user. */
  readonly user: SystemUser | undefined
  /** Whether there is a database already. */
  readonly initialised: boolean
}

/**
 * Makes `MESH_HOME`, for its owner alone, and returns its real path. Throws `StartupError` where it cannot be made.
 */
export async function prepareHome(home: string): Promise<string> {
  try {
    await mkdir(dirname(home), { recursive: true })
    await mkdir(home, { mode: 0o700 }).catch(async (error: unknown) => {
      if (!(await stat(home)).isDirectory()) throw error
    })
    return await realpath(home)
  } catch (error) {
    throw new StartupError(
      `The data folder ${home} cannot be made: set MESH_HOME to a folder of yours.`,
      error,
    )
  }
}

/**
 * Finds or makes the database's folder in a home that is locked. Root's lies with the project too where PostgreSQL's
 * user can reach it, else below `/var/lib/mesh` with a link to it from the home; `notice` says so when that happens.
 */
export async function prepareDataFolder(home: string, notice: (text: string) => void): Promise<DataFolder> {
  const existing = await findDataFolder(home)
  if (existing !== undefined) return existing
  const inHome = join(home, 'postgres')
  if (!isRoot()) {
    await mkdir(inHome, { recursive: true, mode: 0o700 })
    return describe(inHome, undefined)
  }
  const user = unprivilegedUser()
  await letPass(home, user)
  const within = await canEnter(home, user)
  const folder = within ? inHome : join(SHARED_FOLDER, folderName(home))
  if (!within) await makeSharedFolder()
  await mkdir(folder, { recursive: true, mode: 0o710 })
  await chown(folder, 0, user.gid)
  if (!within) {
    await symlink(folder, inHome)
    notice(
      `PostgreSQL does not run as root, and its user cannot reach ${home}: the database lies in ${folder}, linked from ${inHome}.`,
    )
  }
  return describe(folder, user)
}

/** The database's folder of a home that has one; `undefined` where none was made yet. */
export async function findDataFolder(home: string): Promise<DataFolder | undefined> {
  const inHome = join(home, 'postgres')
  const entry = await lstat(inHome).catch(() => undefined)
  if (entry === undefined) return undefined
  const folder = await realpath(inHome).catch(() => undefined)
  if (folder === undefined) {
    throw new StartupError(
      `The database of ${home} lay in ${await readlink(inHome)}, which is gone: bring it back, or remove the link ${inHome} to begin anew.`,
    )
  }
  const owner = await ownerOf(folder)
  if (owner.uid !== process.getuid?.() && !isRoot()) {
    throw new StartupError(
      `The database in ${folder} belongs to another user: start MESH as that user, or set MESH_HOME.`,
    )
  }
  if (!isRoot()) return describe(folder, undefined)
  const user = owner.uid === 0 ? unprivilegedUser() : userOf(owner.uid)
  if (!(await canEnter(folder, user))) {
    throw new StartupError(
      `PostgreSQL runs as user ${user.uid} here, who cannot enter ${folder}: allow it (chmod o+x on the folders above), or set MESH_HOME.`,
    )
  }
  return describe(folder, user)
}

/** A folder for the server's socket: beside the data where the path is short enough, else a new one of its own. */
export async function prepareSocketFolder({ folder, user }: DataFolder): Promise<string> {
  const beside = join(folder, 'run')
  const socketFolder = socketFits(beside) ? beside : await mkdtemp('/tmp/mesh-')
  await mkdir(socketFolder, { recursive: true, mode: 0o700 })
  if (user !== undefined) await chown(socketFolder, user.uid, user.gid)
  return socketFolder
}

/** Takes away a socket's folder that lies outside the database's. */
export async function removeSocketFolder({ folder }: DataFolder, socketFolder: string): Promise<void> {
  if (dirname(socketFolder) !== folder) await rm(socketFolder, { recursive: true, force: true })
}

/** The major version that made the cluster. */
export async function clusterMajor({ dataFolder }: DataFolder): Promise<number> {
  return Number(await readFile(join(dataFolder, 'PG_VERSION'), 'utf8'))
}

async function describe(folder: string, user: SystemUser | undefined): Promise<DataFolder> {
  const dataFolder = join(folder, 'data')
  return {
    folder,
    dataFolder,
    passwordFile: join(folder, 'password'),
    logFile: join(folder, 'postgres.log'),
    user,
    initialised: (await stat(dataFolder).catch(() => undefined)) !== undefined,
  }
}

/** Whose the cluster is, or the folder that will hold it. */
async function ownerOf(folder: string): Promise<{ readonly uid: number }> {
  return stat(join(folder, 'data')).catch(() => stat(folder))
}

/**
 * Lets PostgreSQL's group pass through root's home, as we made it, without reading it. Modes that somebody else
 * chose are left as they are.
 */
async function letPass(home: string, user: SystemUser): Promise<void> {
  const { uid, mode } = await stat(home)
  if (uid !== 0 || (mode & 0o777) !== 0o700) return
  await chown(home, 0, user.gid)
  await chmod(home, 0o710)
}

async function makeSharedFolder(): Promise<void> {
  const made = await mkdir(SHARED_FOLDER, { recursive: true })
  // Whatever the umask took away: everybody passes here, each folder within is closed by its own mode.
  if (made !== undefined) await chmod(SHARED_FOLDER, 0o755)
}

/** A name that tells people whose it is; never one that was used before, for that database is not ours to open. */
function folderName(home: string): string {
  const words = `${basename(dirname(home))}-${basename(home)}`.replace(/[^A-Za-z0-9]+/g, '-')
  return `${words}-${randomBytes(4).toString('hex')}`
}
