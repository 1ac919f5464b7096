import { numbersFrom, seedOf } from '@mesh/simulator/seed.ts'
import { Auditor } from './audit.ts'
import { newWords, type OwnWords } from './call-kinds.ts'
import type { Fault, Layout, RoundResult, Stage } from './fault.ts'
import { LeakSearch } from './leak-search.ts'
import { type RoundRecord, startLoad } from './load.ts'
import { makePayers, type Payers } from './payers.ts'
import { type OpenStage, openStage } from './stage.ts'

/** A round that was played to its end. */
export interface PlayedRound extends RoundResult {
  /** What callers saw instead of ends, by its word. */
  readonly others: ReadonlyMap<string, number>
}

/** A stage with its callers, on which faults strike. */
export interface Theatre {
  /**
   * Strikes once while calls run, and audits what is left. Rejects when the fault could not be struck, when calls are
   * not served again after it, and when a caller saw what no fault explains; the stage is of no use then.
   */
  play(fault: Fault, seed: number, round: number): Promise<PlayedRound>
  close(): Promise<void>
}

/** The load runs for so many answers before the fault strikes, and for so many after it. */
const ENDS_BEFORE = 20
const ENDS_AFTER = 10
const CALLERS = 36

/** Answers that no fault explains: each is a fault of MESH, or of the load. */
const UNEXPLAINED: ReadonlySet<string> = new Set(['internal', 'invalid_request', 'ended early', 'no end'])

/** Opens a stage, for any number of rounds of every fault of its layout. */
export async function openTheatre(layout: Layout = {}): Promise<Theatre> {
  const stage = await openStage(layout)
  const cast = await castFor(stage).catch(async (error: unknown) => {
    await stage.close()
    throw error
  })
  return {
    play: (fault, seed, round) =>
      playRound(fault, stage, cast, seedOf(String(seed), fault.name, String(round))),
    close: () => stage.close(),
  }
}

/** Who plays all rounds of a stage: payers, callers, and who looks at what they left. */
interface Cast {
  readonly payers: Payers
  readonly callers: readonly OwnWords[]
  readonly leaks: LeakSearch
  readonly auditor: Auditor
}

async function castFor(stage: OpenStage): Promise<Cast> {
  const [first] = stage.routers
  if (first === undefined) throw new Error('a stage without a router')
  const payers = await makePayers(first.url, stage.adminKey)
  const callers = Array.from({ length: CALLERS }, newWords)
  const leaks = new LeakSearch(secretTexts(stage.adminKey, payers, callers))
  return { payers, callers, leaks, auditor: new Auditor() }
}

async function playRound(fault: Fault, stage: OpenStage, cast: Cast, seed: string): Promise<PlayedRound> {
  const { payers, callers } = cast
  await payers.refill()
  const load = startLoad({
    urls: stage.routers.map(({ url }) => url),
    payers,
    callers,
    seed,
  })
  const pids = stage.routers.map(({ pid }) => pid)
  const below = numbersFrom(seedOf(seed, 'fault'))
  const { routers, server, way } = stage
  const staged: Stage = { below, routers, server, way, database: () => stage.database(), load }
  let record: RoundRecord
  try {
    await load.moreEnds(ENDS_BEFORE)
    await fault.strike(staged)
    await load.moreEnds(ENDS_AFTER)
  } finally {
    record = await load.end()
  }
  const unexplained = [...load.others].filter(([word]) => UNEXPLAINED.has(word))
  if (unexplained.length > 0)
    throw new Error(`callers saw ${unexplained.map(([word, count]) => `${count} times ${word}`).join(', ')}`)
  const unbroken = routers.filter(({ pid }, index) => pid === pids[index] && !stage.layout.workers)
  const result = await cast.auditor.audit({
    database: await stage.database(),
    record,
    unbrokenUrls: new Set(unbroken.map(({ url }) => url)),
    ...(routers[0] ? { url: routers[0].url } : {}),
    leaks: leaksOf(stage, cast.leaks),
  })
  return { ...result, others: load.others }
}

function leaksOf(stage: OpenStage, leaks: LeakSearch): string[] {
  return [
    ...leaks.inFiles(stage.server.dataFolder),
    ...leaks.inFiles(stage.serverLogFile),
    ...stage.routers.flatMap((router) => leaks.inText('what a router wrote', router.takeOutput())),
  ]
}

/** Everything that must be found nowhere, by its name. */
function secretTexts(
  adminKey: string,
  payers: Payers,
  callers: readonly OwnWords[],
): ReadonlyMap<string, string> {
  const texts = new Map([['the admin key', adminKey]])
  for (const { keyId, secret } of [...payers.all, ...payers.ofRepeats]) {
    texts.set(`the secret of ${keyId}`, secret.replace(/^mesh_test_/, ''))
  }
  for (const [caller, own] of callers.entries()) {
    for (const [place, text] of Object.entries(own)) texts.set(`the ${place} of caller ${caller}`, text)
  }
  return texts
}
