import type { Policy } from './policy.ts'

/** What a router reads once, when it starts: parts of its making, which cannot change under calls that run. */
const READ_AT_START = {
  holds: ['keySharePercent', 'lifetimeMs'],
  calls: [
    'bodyBytesAtOnceMax',
    'upstreamHeaderBytesMax',
    'upstreamAnswerBytesMax',
    'deadlineMs',
    'readerStallMs',
    'readerBytesPerSecondMin',
    'settleWaitMs',
    'concurrencyMax',
    'accountSharePercent',
  ],
  providers: ['accountSharePercent', 'keepAway', 'probes'],
  http: ['connectionsMax', 'headersTimeoutMs', 'keepAliveTimeoutMs'],
  testWorld: ['demoCreditUsd'],
} as const satisfies { readonly [Part in keyof Policy]?: readonly (keyof Policy[Part])[] }

export interface ReloadedPolicy {
  /** What counts from now on. */
  readonly policy: Policy
  /** Settings that were changed and count from the next start, by their names: `http.connectionsMax`. */
  readonly fromNextStart: readonly string[]
}

/** Takes a policy that was read anew, but for what only a start can change. */
export function reloadedPolicy(running: Policy, read: Policy): ReloadedPolicy {
  const fromNextStart: string[] = []
  const kept = Object.entries(READ_AT_START).map(([part, names]) => {
    const before: Readonly<Record<string, unknown>> = running[part as keyof Policy]
    const after: Readonly<Record<string, unknown>> = read[part as keyof Policy]
    for (const name of names) if (before[name] !== after[name]) fromNextStart.push(`${part}.${name}`)
    return [part, { ...after, ...Object.fromEntries(names.map((name) => [name, before[name]])) }]
  })
  return { policy: { ...read, ...Object.fromEntries(kept) }, fromNextStart }
}
