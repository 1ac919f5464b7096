import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** How slowly an answer may be taken. A reader below it is cut off, whatever route he asked. */
export interface ReaderBounds {
  /** The time over which it is measured what a reader takes. */
  readonly readerStallMs: number
  /** What he must take in that time, while bytes wait for him. */
  readonly readerBytesPerSecondMin: number
  /** The longest that any byte waits for him. */
  readonly readerDeadlineMs: number
}

/** How often the readers are looked at within `readerStallMs`: a slow one is cut off that part of it late, at most. */
const LOOKS_PER_STALL = 4

/**
 * Cuts off whoever takes too little of what waits for him, so that nobody keeps an answer in memory for as long as he
 * likes. The whole server is looked over now and then: a timer for each write would cost more than the write.
 *
 * What is taken is what the kernel has accepted of whole writes, which the reader may not have seen yet. The kernel
 * accepts the next bytes when about a third of its own buffer is free, so progress comes in steps of tens of kilobytes
 * and a rate far below one such step in `readerStallMs` looks like none.
 */
export function cutSlowReaders(server: Server, bounds: ReaderBounds, onCut: () => void): void {
  const readers = new Map<Socket, Reading | undefined>()
  server.on('connection', (socket) => {
    readers.set(socket, undefined)
    socket.once('close', () => readers.delete(socket))
  })
  const looking = setInterval(() => {
    const nowMs = performance.now()
    for (const [socket, reading] of readers) {
      const next = look(socket, reading, nowMs, bounds)
      if (next === 'too_slow') {
        onCut()
        socket.destroy()
      } else if (next !== reading) readers.set(socket, next)
    }
  }, bounds.readerStallMs / LOOKS_PER_STALL).unref()
  server.once('close', () => clearInterval(looking))
}

/** What is known of a reader for whom bytes wait. */
interface Reading {
  /** When the bytes up to `queuedBytes` were first seen to wait: not all of them have been taken yet. */
  readonly sinceMs: number
  readonly queuedBytes: number
  /** Where the present measurement began. */
  readonly measuredFromMs: number
  readonly takenBytes: number
}

function look(
  socket: Socket,
  reading: Reading | undefined,
  nowMs: number,
  { readerStallMs, readerBytesPerSecondMin, readerDeadlineMs }: ReaderBounds,
): Reading | undefined | 'too_slow' {
  const waitingBytes = socket.writableLength
  if (waitingBytes === 0) return undefined
  const queuedBytes = socket.bytesWritten
  const takenBytes = queuedBytes - waitingBytes
  const fresh = { sinceMs: nowMs, queuedBytes, measuredFromMs: nowMs, takenBytes }
  if (!reading) return fresh
  const current = takenBytes >= reading.queuedBytes ? { ...reading, sinceMs: nowMs, queuedBytes } : reading
  if (nowMs - current.sinceMs >= readerDeadlineMs) return 'too_slow'
  const measuredMs = nowMs - current.measuredFromMs
  if (measuredMs < readerStallMs) return current
  const wantedBytes = (readerBytesPerSecondMin * measuredMs) / 1_000
  if (takenBytes - current.takenBytes < wantedBytes) return 'too_slow'
  return { ...current, measuredFromMs: nowMs, takenBytes }
}
