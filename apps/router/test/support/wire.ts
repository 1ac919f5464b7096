import { connect } from 'node:net'

/** One answer as it came over the wire. */
export interface WireAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** Longer than any time-out by which a connection of a test is closed. */
const PATIENCE_MS = 30_000

export interface WireOptions {
  /** Closes our side behind the last byte. */
  readonly hangUp?: boolean
  /** Sends the last part again and again for as long as it is listened to. */
  readonly trickleMs?: number
}

/** A connection that is written to byte by byte. */
export interface Wire {
  send(part: string | Uint8Array): void
  /** What came until now. */
  text(): string
  /** Resolves when the other side has closed it. */
  readonly closed: Promise<void>
  hangUp(): void
}

/** Opens a connection. */
export function openWire(url: string): Wire {
  const { hostname, port } = new URL(url)
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  const socket = connect(Number(port), hostname)
  const received: Buffer[] = []
  socket.on('data', (chunk: Buffer) => received.push(chunk))
  // Whoever is cut off while he sends hears it as a broken connection: what came before is what counts.
  socket.on('error', () => undefined)
  socket.on('close', () => resolve())
  return {
    send: (part) => void socket.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part),
    text: () => Buffer.concat(received).toString('utf8'),
    closed,
    hangUp: () => void socket.end(),
  }
}

/**
 * Sends bytes exactly as they are over a connection of their own, and resolves with what came until it was closed.
 * Rejects where nobody closes it.
 */
export async function exchange(
  url: string,
  parts: readonly (string | Uint8Array)[],
  { hangUp = false, trickleMs }: WireOptions = {},
): Promise<string> {
  const wire = openWire(url)
  for (const part of parts) wire.send(part)
  if (hangUp) wire.hangUp()
  const last = parts.at(-1) ?? ''
  const trickle = trickleMs === undefined ? undefined : setInterval(() => wire.send(last), trickleMs)
  const { promise: impatience, reject } = Promise.withResolvers<never>()
  const patience = setTimeout(() => reject(new Error('the connection stays open')), PATIENCE_MS)
  try {
    await Promise.race([wire.closed, impatience])
    return wire.text()
  } finally {
    clearTimeout(patience)
    clearInterval(trickle)
    wire.hangUp()
  }
}

/** The answers in what came over a connection. An interim answer, `100 Continue`, is none. */
export function answersIn(received: string): WireAnswer[] {
  const answers: WireAnswer[] = []
  let rest = Buffer.from(received, 'utf8')
  while (rest.length > 0) {
    const end = rest.indexOf('\r\n\r\n')
    if (end === -1) throw new Error(`not an answer: ${rest.toString('utf8').slice(0, 80)}`)
    const head = rest.subarray(0, end).toString('latin1')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? Number.NaN)
    if (Number.isNaN(status)) throw new Error(`not an answer: ${head.slice(0, 80)}`)
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
    const body = rest.subarray(end + 4, end + 4 + length).toString('utf8')
    if (status >= 200) answers.push({ status, head, body })
    rest = rest.subarray(end + 4 + length)
  }
  return answers
}
