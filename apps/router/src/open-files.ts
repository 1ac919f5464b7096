import { z } from 'zod'

/** What a process has open for itself: its connections to the database, its listener, its log, the runtime. */
const OWN_FILES = 256
/** What a call has open beside its caller's connection: the way to the provider, and a simulator's end of it. */
const FILES_PER_CALL = 2
/** Of what can be open, this part is for calls; the rest is for callers who keep a connection open without a call. */
const CALLS_SHARE = 0.125

/** How many connections and calls fit into the files that a process may have open. */
export interface OpenFilesFit {
  readonly connectionsMax: number
  readonly callsMax: number
  /** Whether they are fewer than what was wanted. */
  readonly isLowered: boolean
}

/**
 * Lowers bounds to what the system allows, so that files never run out: a process that cannot open one more can take
 * no connection, and reaches neither its providers nor its database. `openFilesMax` is absent where there is no limit.
 */
export function fitOpenFiles(
  wanted: { readonly connectionsMax: number; readonly callsMax: number },
  openFilesMax: number | undefined,
): OpenFilesFit {
  if (openFilesMax === undefined) return { ...wanted, isLowered: false }
  const free = Math.max(0, openFilesMax - OWN_FILES)
  const callsMax = Math.min(wanted.callsMax, Math.max(1, Math.floor(free * CALLS_SHARE)))
  const connectionsMax = Math.min(wanted.connectionsMax, Math.max(1, free - FILES_PER_CALL * callsMax))
  return {
    connectionsMax,
    callsMax,
    isLowered: connectionsMax < wanted.connectionsMax || callsMax < wanted.callsMax,
  }
}

const reportSchema = z.object({
  userLimits: z.object({ open_files: z.object({ soft: z.union([z.string(), z.number()]) }) }),
})

/** The files that this process may have open at once (`ulimit -n`); absent where the system has no such limit. */
export function openFilesMax(): number | undefined {
  // Else the report looks up the names of all peers. The types do not know it yet.
  Reflect.set(process.report, 'excludeNetwork', true)
  const report = reportSchema.safeParse(process.report.getReport())
  const limit = Number(report.data?.userLimits.open_files.soft)
  return Number.isInteger(limit) ? limit : undefined
}
