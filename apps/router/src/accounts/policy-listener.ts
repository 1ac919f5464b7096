import { setTimeout } from 'node:timers/promises'
import type { Client } from 'pg'
import type { KeyId } from '../ids.ts'
import { describeError, type Log } from '../log.ts'
import { type Database, endConnection } from '../storage/database.ts'
import type { Authenticator } from './authenticate.ts'
import { POLICY_CHANNEL, PROVIDERS_NOTICE, readNotice, type StopReason } from './policy-notice.ts'

export interface PolicyListenerOptions {
  readonly database: Pick<Database, 'connect'>
  /** Forgets what it remembers of an account that changed. */
  readonly authenticator: Pick<Authenticator, 'evict' | 'evictAll' | 'stoppedAmong'>
  /** The calls that run here: those of keys that stop are cut. */
  readonly liveCalls: {
    readonly keyIds: readonly KeyId[]
    abortKeys(keyIds: readonly KeyId[], reason: StopReason): void
  }
  /** Takes down what was stopped, whoever stopped it. */
  readonly revocations?: { sync(): Promise<void> }
  /** Reads again what is set for providers. */
  readonly providers?: { refresh(): Promise<void> }
  readonly log: Log
  readonly reconnectMs?: number
  /** A connection that answers nothing for this long is given up, for a dead peer says nothing. */
  readonly heartbeatMs?: number
}

export interface PolicyListener {
  /** Whether notices arrive now. */
  readonly isConnected: boolean
  /** Notices that were heard. */
  readonly noticeCount: number
  close(): Promise<void>
}

const RECONNECT_MS = 250
const HEARTBEAT_MS = 2_000
/** A slow database is no dead one: it has as long as callers wait for it. */
const ANSWER_PATIENCE_MS = 5_000

/**
 * Hears of changes that any router makes, over a connection of its own, and gets itself a new one whenever that is
 * lost. Resolves when notices arrive.
 */
export async function listenForPolicy(options: PolicyListenerOptions): Promise<PolicyListener> {
  const { promise: listening, resolve: onListening } = Promise.withResolvers<void>()
  const closing = new AbortController()
  const heard: Heard = { isConnected: false, noticeCount: 0 }
  const running = (async () => {
    while (!closing.signal.aborted) {
      try {
        await listenOnce(options, heard, onListening, closing.signal)
      } catch (error) {
        if (!closing.signal.aborted) options.log.warn('policy notices are interrupted', describeError(error))
      }
      await pause(options.reconnectMs ?? RECONNECT_MS, closing.signal)
    }
  })()
  await listening
  return {
    get isConnected() {
      return heard.isConnected
    },
    get noticeCount() {
      return heard.noticeCount
    },
    async close() {
      closing.abort()
      await running
    },
  }
}

interface Heard {
  isConnected: boolean
  noticeCount: number
}

/** Listens until the connection is lost or the listener closes; it always ends by rejecting. */
async function listenOnce(
  options: PolicyListenerOptions,
  heard: Heard,
  onListening: () => void,
  closing: AbortSignal,
): Promise<void> {
  const client = await options.database.connect()
  const { promise: lost, reject: fail } = Promise.withResolvers<never>()
  const onClosing = (): void => fail(new Error('the listener closes'))
  client.once('end', () => fail(new Error('the connection ended')))
  closing.addEventListener('abort', onClosing)
  // An event that came while the connection was made comes no second time.
  if (closing.aborted) onClosing()
  client.on('notification', ({ payload }) => {
    heard.noticeCount++
    if (payload === PROVIDERS_NOTICE) {
      options.providers?.refresh().catch(fail)
      return
    }
    void options.revocations?.sync()
    const notice = readNotice(payload ?? '')
    if (notice) {
      options.authenticator.evict(notice.accountId)
      if (notice.stop) options.liveCalls.abortKeys(notice.stop.keyIds, notice.stop.reason)
    } else {
      // A newer router says something that this one cannot read: what it means must not be missed.
      catchUp(options).catch(fail)
    }
  })
  const heartbeatMs = options.heartbeatMs ?? HEARTBEAT_MS
  const answerMs = options.heartbeatMs ?? ANSWER_PATIENCE_MS
  let isBeating = false
  const heartbeat = setInterval(() => {
    if (isBeating) return
    isBeating = true
    beat(client, answerMs)
      .catch(fail)
      .finally(() => {
        isBeating = false
      })
  }, heartbeatMs)
  try {
    const began = client.query(`listen ${POLICY_CHANNEL}`).then(() => catchUp(options))
    await Promise.race([began, lost])
    heard.isConnected = true
    onListening()
    await lost
  } finally {
    heard.isConnected = false
    clearInterval(heartbeat)
    closing.removeEventListener('abort', onClosing)
    await endConnection(client)
  }
}

/** Makes good for notices that may have been missed. */
async function catchUp(options: PolicyListenerOptions): Promise<void> {
  const { authenticator, liveCalls, revocations, providers } = options
  authenticator.evictAll()
  void revocations?.sync()
  await providers?.refresh()
  for (const { keyIds, reason } of await authenticator.stoppedAmong(liveCalls.keyIds)) {
    liveCalls.abortKeys(keyIds, reason)
  }
}

async function beat(client: Client, timeoutMs: number): Promise<void> {
  const answered = new AbortController()
  const late = setTimeout(timeoutMs, 'late' as const, { signal: answered.signal }).catch(
    () => 'answered' as const,
  )
  const first = await Promise.race([client.query('select 1'), late]).finally(() => answered.abort())
  if (first === 'late') throw new Error('the database does not answer')
}

/** Waits, or stops waiting when the listener closes. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, { signal }).catch(() => undefined)
}
