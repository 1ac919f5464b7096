import { Agent, request as httpRequest } from 'node:http'

/** Header lines as they go over the wire: names may come twice. */
export type HeaderLines = readonly (readonly [name: string, value: string])[]

/** An answer as it came. */
export interface RawAnswer {
  readonly status: number
  /** Names in lower case, in the order in which they came. */
  readonly headers: HeaderLines
  readonly text: string
}

export interface RawClient {
  send(method: string, path: string, headers: HeaderLines, body?: string): Promise<RawAnswer>
  close(): void
}

/** A client that sends headers exactly as it is told, which `fetch` does not: it joins those of one name. */
export function createRawClient(url: string, connections: number): RawClient {
  const { hostname, port, host } = new URL(url)
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  return {
    send(method, path, headers, body) {
      const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>()
      const lines = [['host', host] as const, ...headers]
      if (body !== undefined) lines.push(['content-length', String(Buffer.byteLength(body))])
      const request = httpRequest({ hostname, port, agent, method, path, headers: lines.flat() })
      request.on('error', reject)
      request.on('response', (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
        })
        response.on('error', reject)
        response.on('end', () => {
          const raw = response.rawHeaders
          const received = raw.flatMap((name, at): [string, string][] =>
            at % 2 === 0 ? [[name.toLowerCase(), raw[at + 1] ?? '']] : [],
          )
          resolve({ status: response.statusCode ?? 0, headers: received, text })
        })
      })
      request.end(body)
      return promise
    },
    close: () => agent.destroy(),
  }
}

/** The error code of an answer, where it is an error and has a body. */
export function errorCodeOf({ text }: RawAnswer): string | undefined {
  if (!text.startsWith('{')) return undefined
  return JSON.parse(text).error?.code
}
