/** The program of `bareProxy`: passes requests and answers on as they are. Prints its port. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Agent } from 'undici'

const origin = `http://127.0.0.1:${process.argv[2]}`
const agent = new Agent({ connections: 10_000, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })

function proxy(request: IncomingMessage, response: ServerResponse): void {
  const parts: Buffer[] = []
  request.on('data', (bytes: Buffer) => parts.push(bytes))
  request.on('end', () => forward(request, response, Buffer.concat(parts)))
}

function forward(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  let abort = (): void => {}
  response.once('close', () => {
    if (!response.writableFinished) abort()
  })
  agent.dispatch(
    {
      origin,
      path: request.url ?? '/',
      method: 'POST',
      headers: {
        'content-type': request.headers['content-type'] ?? '',
        accept: request.headers.accept ?? '*/*',
        authorization: request.headers.authorization ?? '',
      },
      body,
    },
    {
      onRequestStart(controller) {
        abort = () => controller.abort(new Error('the client left'))
      },
      onResponseStart(_controller, status, headers) {
        const length = headers['content-length']
        response.writeHead(status, {
          'content-type': String(headers['content-type'] ?? ''),
          ...(length === undefined ? {} : { 'content-length': String(length) }),
        })
      },
      onResponseData(controller, bytes) {
        if (response.write(bytes)) return
        controller.pause()
        response.once('drain', () => controller.resume())
      },
      onResponseEnd: () => void response.end(),
      onResponseError: () => void response.destroy(),
    },
  )
}

const server = createServer(proxy).listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
  const address = server.address()
  process.stdout.write(`${typeof address === 'object' && address !== null ? address.port : ''}\n`)
})
