import { type Logger, pino } from 'pino'

/** Severities that `MESH_LOG_LEVEL` takes. */
export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/**
 * The only fields that a log line may have. Content, secrets and names that people chose are in none of them, so a
 * line can be shipped anywhere. Errors are written as name and code: a message may quote what it failed on.
 */
export interface LogFields {
  readonly requestId?: string
  readonly callId?: string
  readonly accountId?: string
  readonly keyId?: string
  readonly routerId?: string
  readonly provider?: string
  /** What an operator calls it in the settings; never the secret. */
  readonly credential?: string
  readonly model?: string
  readonly route?: string
  readonly method?: string
  readonly status?: number
  readonly code?: string
  readonly reason?: string
  readonly errorName?: string
  readonly errorCode?: string
  /** File and line of our own frames, without any message. */
  readonly frames?: readonly string[]
  readonly count?: number
  readonly durationMs?: number
  readonly signal?: string
  readonly setting?: string
}

export interface Log {
  error(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  debug(message: string, fields?: LogFields): void
}

/** Lines that wait for a disk that is full, in bytes: beyond it the newest are dropped. */
const UNWRITTEN_BYTES_MAX = 1_048_576

/** A log of JSON lines on stderr. Messages are literals: the static gate forbids anything else. */
export function createLog(level: LogLevel): Log {
  const destination = pino.destination({ dest: 2, sync: true, maxLength: UNWRITTEN_BYTES_MAX })
  // What cannot be written now, because a disk is full, is written later or dropped; without a listener of its own
  // the failure would end the process.
  destination.on('error', () => undefined)
  return over(pino({ level, base: null }, destination))
}

/** The same log, with lines that say which of several routers wrote them. */
export function ofRouter(lines: Log, routerId: string): Log {
  return {
    error: (message, fields) => lines.error(message, { routerId, ...fields }),
    warn: (message, fields) => lines.warn(message, { routerId, ...fields }),
    info: (message, fields) => lines.info(message, { routerId, ...fields }),
    debug: (message, fields) => lines.debug(message, { routerId, ...fields }),
  }
}

function over(logger: Logger): Log {
  return {
    error: (message, fields = {}) => logger.error(fields, message),
    warn: (message, fields = {}) => logger.warn(fields, message),
    info: (message, fields = {}) => logger.info(fields, message),
    debug: (message, fields = {}) => logger.debug(fields, message),
  }
}

const OWN_FRAME = /((?:apps|packages)\/[\w./-]+\.ts:\d+):\d+\)?$/

/** What may be told of an unexpected error: its class, its code and where in our own code it passed. */
export function describeError(error: unknown): Pick<LogFields, 'errorName' | 'errorCode' | 'frames'> {
  if (!(error instanceof Error)) return { errorName: typeof error }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return {
    errorName: error.name,
    ...(code !== undefined && /^[A-Z0-9_]{1,40}$/.test(code) ? { errorCode: code } : {}),
    frames: framesOf(error),
  }
}

/** A stack begins with the message, whose lines may look like frames: only what stands after it is one. */
function framesOf({ message, stack = '' }: Error): readonly string[] {
  const start = stack.indexOf(message)
  if (start === -1) return []
  return stack
    .slice(start + message.length)
    .split('\n')
    .flatMap((line) => OWN_FRAME.exec(line)?.[1] ?? [])
    .slice(0, 8)
}
