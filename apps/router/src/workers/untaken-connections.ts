import type { Worker } from 'node:cluster'

/** What Node's primary sends a worker with each connection, and what the worker answers by its number. */
interface InternalMessage {
  readonly act?: string
  readonly seq?: number
  readonly ack?: number
}

interface Connection {
  close(): void
}

/**
 * Closes what was handed to a worker that died before it said that it has it. Node's primary keeps its end of such a
 * connection for good (`lib/internal/cluster/round_robin_handle.js` waits for an answer that never comes), so its
 * client would wait for ever; now he hears that the connection broke, as those of the dead worker's other calls do.
 */
export function closeUntakenConnections({ process: child }: Worker): void {
  const untaken = new Map<number, Connection>()
  const send = child.send.bind(child) as (...sent: unknown[]) => boolean
  child.send = (...sent: unknown[]): boolean => {
    const [message, handle] = sent as [InternalMessage, Connection | undefined]
    if (message.act === 'newconn' && message.seq !== undefined && handle) untaken.set(message.seq, handle)
    return send(...sent)
  }
  child.on('internalMessage', ({ ack }: InternalMessage) => {
    if (ack !== undefined) untaken.delete(ack)
  })
  // `disconnect` is not told of a child that dies so. What it had still said is read before the next turn.
  child.once('exit', () =>
    setImmediate(() => {
      for (const connection of untaken.values()) connection.close()
    }),
  )
}
