import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, listening, startProgram } from '../machine/program.ts'
import { withoutDatabase } from './plain.ts'
import type { Absent, Subject } from './subject.ts'

const NAME = 'Portkey gateway'
const PACKAGE = '@portkey-ai/gateway'
const VERSION = '1.15.2'
/** Not among MESH's own packages: it is fetched when it is first measured, and stays outside every lockfile. */
const FOLDER = join(import.meta.dirname, '../../node_modules/.cache/mesh-bench')
const PROGRAM = join(FOLDER, 'node_modules', PACKAGE, 'build/start-server.js')

/** Portkey's gateway on MESH's own Node, from npm; absent where npm cannot bring it. */
export function portkey(core: number | undefined): Subject | Absent {
  if (!existsSync(PROGRAM)) {
    mkdirSync(FOLDER, { recursive: true })
    const words = ['install', '--prefix', FOLDER, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund']
    spawnSync('npm', [...words, `${PACKAGE}@${VERSION}`], { stdio: 'ignore' })
  }
  if (!existsSync(PROGRAM)) return { name: NAME, why: `npm could not bring ${PACKAGE}@${VERSION}` }
  return {
    name: `${NAME} ${VERSION}`,
    async start(upstreamPort) {
      const port = await freePort()
      const program = startProgram(process.execPath, [PROGRAM, `--port=${port}`, '--headless'], { core })
      await listening(program, port)
      return withoutDatabase(program, port, {
        authorization: 'Bearer sk-bench',
        'x-portkey-provider': 'openai',
        'x-portkey-custom-host': `http://127.0.0.1:${upstreamPort}/v1`,
      })
    },
  }
}
