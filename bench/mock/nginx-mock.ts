import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, listening, startProgram } from '../machine/program.ts'
import { JSON_ANSWER, STREAM_ANSWER } from '../work.ts'
import type { Mock } from './mock.ts'

/** A provider that answers at once: nginx with two fixed bodies, for it costs a core the least. */
export async function startNginxMock(nginx: string, core: number | undefined): Promise<Mock> {
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'mesh-bench-mock-'))
  const file = join(folder, 'nginx.conf')
  await writeFile(
    file,
    nginxConfiguration(
      folder,
      `map $http_accept $streams { default 0; ~text/event-stream 1; }
       server {
         listen 127.0.0.1:${port} backlog=4096;
         location / {
           if ($streams) { rewrite ^ /streamed last; }
           default_type application/json;
           return 200 ${quoted(JSON_ANSWER)};
         }
         location = /streamed {
           internal;
           default_type text/event-stream;
           ${setParts(STREAM_ANSWER)}
         }
       }`,
    ),
  )
  const program = startProgram(nginx, ['-p', folder, '-c', file, '-e', 'stderr'], { core })
  await listening(program, port)
  return { name: 'nginx with a fixed body', port, program }
}

/** One worker, no log, connections that are kept for as long as a run lasts. */
export function nginxConfiguration(folder: string, servers: string): string {
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `daemon off; worker_processes 1; worker_rlimit_nofile 20000; error_log stderr crit;
pid ${join(folder, 'pid')};
events { worker_connections 9000; }
http {
  ${paths.map((name) => `${name}_temp_path ${join(folder, name)};`).join(' ')}
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 32m;
  ${servers}
}
`
}

/** nginx takes no longer words than 4 KB, so a longer body is put together from variables. */
function setParts(text: string): string {
  const parts = text.match(/[\s\S]{1,2000}/g) ?? []
  const sets = parts.map((part, index) => `set $part${index} ${quoted(part)};`)
  const names = parts.map((_, index) => `$part${index}`)
  return `${sets.join(' ')} return 200 "${names.join('')}";`
}

/** As nginx reads it: its own escapes are those of JSON's texts but for the dollar, which no answer here has. */
function quoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`
}
