import type { IncomingMessage, Server } from 'node:http'

/**
 * Waits for bodies that still come when their request has been answered, and throws them away: closing on a client
 * that still sends loses it the answer. Node closes at once where the client wants it (`Connection: close`), so that
 * is put off until the body has come whole. Nobody is waited for longer than `timeoutMs`, least of all who was refused
 * because nobody knows him.
 */
export function endUnreadBodies(server: Server, timeoutMs: number): void {
  // Before anything can have been answered.
  server.prependListener('request', (request, response) => {
    if (!hasBody(request)) return
    const { socket } = request
    const isLast = !response.shouldKeepAlive
    response.shouldKeepAlive = true
    response.once('finish', () => {
      if (!request.complete) {
        const timer = setTimeout(() => socket.destroy(), timeoutMs).unref()
        request.once('close', () => clearTimeout(timer))
      }
      if (!isLast) return
      if (request.complete) socket.end()
      else request.once('end', () => socket.end())
    })
  })
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}
