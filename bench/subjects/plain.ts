import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { treeOf } from '../machine/process-tree.ts'
import { firstLine, freePort, listening, type Program, startProgram } from '../machine/program.ts'
import { nginxConfiguration } from '../mock/nginx-mock.ts'
import type { Running, Subject } from './subject.ts'

/** A program without a database. */
export function withoutDatabase(
  program: Program,
  port: number,
  headers: Readonly<Record<string, string>> = {},
): Running {
  return {
    port,
    program,
    headers,
    callers: [headers],
    serverPids: () => treeOf(program.pid),
    databasePids: () => [],
    stop: () => program.stop(),
  }
}

/** nginx as a plain reverse proxy: the least that standing in between can cost. */
export function nginxProxy(nginx: string, core: number | undefined): Subject {
  return {
    name: 'nginx, plain proxy',
    async start(upstreamPort) {
      const port = await freePort()
      const folder = await mkdtemp(join(tmpdir(), 'mesh-bench-nginx-'))
      const file = join(folder, 'nginx.conf')
      const servers = `upstream provider { server 127.0.0.1:${upstreamPort}; keepalive 512; keepalive_requests 1000000000; }
        server {
          listen 127.0.0.1:${port} backlog=4096;
          location / {
            proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering off; proxy_read_timeout 600s;
          }
        }`
      await writeFile(file, nginxConfiguration(folder, servers))
      const program = startProgram(nginx, ['-p', folder, '-c', file, '-e', 'stderr'], { core })
      await listening(program, port)
      return withoutDatabase(program, port)
    },
  }
}

/** The least that a Node program in between can cost: `node:http` and undici's `dispatch`, and no thought. */
export function bareProxy(core: number | undefined): Subject {
  return {
    name: 'bare undici proxy',
    async start(upstreamPort) {
      const file = join(import.meta.dirname, 'bare-proxy.ts')
      const program = startProgram(process.execPath, [file, String(upstreamPort)], { core })
      return withoutDatabase(program, Number(await firstLine(program)))
    },
  }
}
