import { setTimeout } from 'node:timers/promises'
import type { CallId } from '../../ids.ts'
import type { MeshClient } from '../../mesh-client.ts'
import type { RequestEvent } from '../../resources/logs.ts'
import type { Command, Context } from '../command.ts'
import { CommandError } from '../exit-codes.ts'

const PAGE_MAX = 100
const SHOWN_DEFAULT = 20
const SHOWN_MAX = 10_000
const PAUSE_MS = 1_000
/** Behind an outage, no more than this is caught up with. */
const CAUGHT_UP_MAX = 1_000

export const logs: Command = {
  name: 'logs',
  summary: 'Show the latest calls, or one by its id; with -f, those that come.',
  takes: '[ID]',
  wordsMax: 1,
  about: 'Calls leave metadata, never their content. With -f and --json, each call is a line of its own.',
  options: {
    follow: { type: 'boolean', short: 'f', help: 'Go on and show calls as they end, until Ctrl-C.' },
    number: { type: 'string', short: 'n', value: 'N', help: `How many of the latest (${SHOWN_DEFAULT}).` },
  },
  examples: ['meshrouter logs -f', 'meshrouter logs req_01m8ffqr37p8e53ta4w2kzr4kn'],
  async run(context) {
    const { words, options, terminal, signal } = context
    const [id] = words
    const count = options.count('number', { min: 0, max: SHOWN_MAX }) ?? SHOWN_DEFAULT
    const mesh = await context.client()
    if (id !== undefined) return terminal.writeJson(await mesh.logs.retrieve(callId(id), { signal }))
    if (options.has('follow')) return follow(mesh, count, context)
    const latest = count === 0 ? [] : await newest(mesh, { count, signal })
    if (terminal.json) return terminal.writeJson({ data: latest })
    await terminal.table(HEADINGS, latest.map(rowOf))
  },
}

const HEADINGS = ['time', 'id', 'status', 'model', 'provider', 'in', 'out', 'USD', 'ms', 'reason']

function rowOf(event: RequestEvent) {
  const { tokens } = event
  return [
    event.createdAt,
    event.id,
    event.status,
    event.modelServed ?? event.modelRequested,
    event.provider,
    tokens.input +
      tokens.cacheRead +
      tokens.cacheWrite5m +
      tokens.cacheWrite1h +
      tokens.inputAudio +
      tokens.inputImage,
    tokens.output + tokens.reasoning + tokens.outputAudio + tokens.outputImage,
    event.cost.totalUsd,
    event.durationMs,
    event.errorCode ?? event.billingReason,
  ]
}

async function newest(
  mesh: MeshClient,
  { count, signal }: { readonly count: number; readonly signal: AbortSignal },
): Promise<RequestEvent[]> {
  const events: RequestEvent[] = []
  for await (const event of mesh.logs.list({ limit: Math.min(count, PAGE_MAX) }, { signal })) {
    events.push(event)
    if (events.length === count) break
  }
  return events
}

/**
 * Shows events once each, the oldest first. Ids sort by when a call began, and a call shows when it has ended: so what
 * is known is remembered one by one, as far back as was looked. Who began before that and ends now is not seen.
 */
async function follow(mesh: MeshClient, count: number, { terminal, signal }: Context): Promise<void> {
  const show = async (events: readonly RequestEvent[]) => {
    for (const event of [...events].reverse()) {
      if (terminal.json) await terminal.writeJsonLine(event)
      else
        await terminal.line(
          rowOf(event)
            .map((cell) => cell ?? '-')
            .join('  '),
        )
    }
  }
  // A whole page at least, however few are shown: on the pages that are asked for later, what is older is not new.
  const before = await newest(mesh, { count: Math.max(count, PAGE_MAX), signal })
  await show(before.slice(0, count))
  let known = new Set<string>(before.map(({ id }) => id))
  for (;;) {
    await setTimeout(PAUSE_MS, undefined, { signal })
    const seen = await newestUntilKnown(mesh, { known, signal })
    await show(seen.filter(({ id }) => !known.has(id)))
    known = new Set(seen.map(({ id }) => id))
  }
}

/** The newest pages, until one that has something known on it. */
async function newestUntilKnown(
  mesh: MeshClient,
  { known, signal }: { readonly known: ReadonlySet<string>; readonly signal: AbortSignal },
): Promise<RequestEvent[]> {
  const seen: RequestEvent[] = []
  const first = await mesh.logs.list({ limit: PAGE_MAX }, { signal })
  for await (const { data } of first.iterPages()) {
    seen.push(...data)
    if (data.some(({ id }) => known.has(id)) || seen.length >= CAUGHT_UP_MAX) break
  }
  return seen
}

function callId(id: string): CallId {
  if (id.startsWith('req_')) return id as CallId
  throw new CommandError('usage', 'The id of a call begins with req_.')
}
