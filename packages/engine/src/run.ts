import type { Endpoint, ProtocolName } from '@mesh/catalog/catalog.ts'
import { Answer, type OpenReply } from './answer.ts'
import type { Ask, AskShape } from './ask.ts'
import { type AttemptLimits, UpstreamAttempt } from './attempt.ts'
import type { Cancel, Clock } from './clock.ts'
import { emulatedFormat } from './emulated-json.ts'
import { ExpectedAnswer } from './expected-answer.ts'
import { isOfCredential } from './failure.ts'
import { reportOf } from './health/attempt-report.ts'
import { type Gate, OPEN_GATE } from './health/gate.ts'
import { boundInput } from './input-bound.ts'
import { estimateInput } from './input-estimate.ts'
import { type Exchanged, finishJson } from './json-answer.ts'
import { Meter, mayThinkUnseen } from './meter.ts'
import { Outlet } from './outlet.ts'
import { OutputAllowance } from './output-allowance.ts'
import { ATTEMPTS_MAX, type Candidate, type Plan } from './plan.ts'
import type { Protocol } from './protocol.ts'
import type { Budget, RunOutcome, Sink } from './run-outcome.ts'
import type { StreamEvent } from './stream-event.ts'
import type { Transport, UpstreamTarget } from './transport.ts'
import {
  type Dispatched,
  outcomeOf,
  type RelayEnd,
  type Trial,
  trialOf,
  trialWithoutDispatch,
} from './trial.ts'

/** What is the same for every call of a world: how its providers are reached, and how long things may take. */
export interface Engine {
  readonly transport: Transport
  readonly protocolFor: (name: ProtocolName) => Protocol
  /** Absent where the provider has no credential. Where it has several, `spreadKey` decides: the account's own. */
  readonly targetFor: (endpoint: Endpoint, spreadKey?: string) => UpstreamTarget | undefined
  readonly clock: Clock
  readonly limits: RunLimits
  /** Where an operator set for an endpoint's provider how long a streamed answer may take to begin. */
  readonly firstByteTimeoutMsAt?: (endpoint: Endpoint) => number | undefined
}

export interface RunLimits extends AttemptLimits {
  /** The whole call, with all its attempts. */
  readonly deadlineMs: number
  /** How long a stream is read on after its reader left, to learn what the provider bills. */
  readonly drainMs: number
  /** By how many output tokens a hold is widened at a time. */
  readonly outputSliceTokens: number
}

export interface RunInput {
  readonly engine: Engine
  readonly plan: Pick<Plan, 'candidates'>
  /** Asked before each attempt, and told what became of it; without one every candidate is tried. */
  readonly gate?: Gate
  readonly ask: Ask
  readonly shape: AskShape
  /** For all choices together. It is widened to all that a candidate can write where that one bills on after a cancel. */
  readonly budget: Budget
  readonly sink: Sink
  readonly openReply: OpenReply
  /** Aborted when the reader leaves. */
  readonly signal: AbortSignal
  /** When the call began, by the engine's clock: before it was held. */
  readonly startedAtMs: number
}

/** How often an answer that thinks unseen is looked after. */
const UNSEEN_TICK_MS = 1_000

/**
 * Gets one answer for a call: tries the plan's candidates in their order until one answers, passes its answer on as
 * it comes, and never lets it grow beyond what is held. Whatever becomes of the call is in the outcome; it rejects
 * for a bug alone.
 *
 * It moves on to the next candidate only while no byte of content has left for the caller, so an answer never has
 * bytes of two upstreams. It writes content and keep-alive comments; the end of the answer is the router's to write,
 * when the charge is durable.
 */
export async function run(input: RunInput): Promise<RunOutcome> {
  const { engine, plan, ask, sink, signal, startedAtMs } = input
  const { clock, limits } = engine
  const deadlineAtMs = startedAtMs + limits.deadlineMs
  const outlet = new Outlet({ sink, stream: ask.stream, clock, signal, deadlineAtMs })
  const allowance = new OutputAllowance(input.budget, limits.outputSliceTokens)
  const call: Call = { ...input, outlet, allowance, deadlineAtMs }
  const trials: Trial[] = []
  try {
    let candidate = plan.candidates[0]
    while (candidate && !outlet.isLeft) {
      trials.push(await tryCandidate(call, candidate))
      candidate = nextCandidate(call, trials)
    }
  } finally {
    outlet.close()
    await allowance.settled()
  }
  return outcomeOf(trials, { readerLeft: outlet.isLeft, startedAtMs, nowMs: clock.monotonic() })
}

/** What all attempts of a call share. */
interface Call extends RunInput {
  readonly outlet: Outlet
  readonly allowance: OutputAllowance
  readonly deadlineAtMs: number
  /** Where an answer is asked for once more: what the first one left of the hold, in tokens. */
  readonly outputTokensLeft?: number
}

/** Sends a call to one candidate, where its gate lets it through, and relays what it says, to its end. */
async function tryCandidate(call: Call, candidate: Candidate): Promise<Trial> {
  const { engine, gate = OPEN_GATE } = call
  const target = engine.targetFor(candidate.endpoint, call.ask.accountKey)
  if (!target) {
    return trialWithoutDispatch(candidate, { outcome: 'not_dispatched', reason: 'credential_missing' })
  }
  const passage = gate.enter(candidate.endpoint)
  if ('outcome' in passage) return trialWithoutDispatch(candidate, passage)
  let trial: Trial | undefined
  try {
    trial = await tryDispatched(call, candidate, target)
    const { failure } = trial.attempt
    // What one credential met says nothing of the endpoint while another can be sent there.
    if (failure && isOfCredential(failure) && target.setAside?.(failure)) {
      trial = { ...trial, hasAnotherCredential: true }
    }
    return trial
  } finally {
    passage.leave(trial && !trial.hasAnotherCredential ? reportOf(trial) : undefined)
  }
}

async function tryDispatched(call: Call, candidate: Candidate, target: UpstreamTarget): Promise<Trial> {
  const { outlet } = call
  const holding = holdWhole(call, candidate)
  if (holding !== undefined) {
    await holding
    if (outlet.isLeft)
      return trialWithoutDispatch(candidate, { outcome: 'not_dispatched', reason: 'cancelled' })
  }
  const first = await exchange(call, candidate, target)
  return finishJson({
    ...{ ask: call.ask, candidate, first, outputTokensHeld: call.allowance.heldTokens },
    isAwaited: () => !outlet.isLeft,
    askAgain: ({ ask, candidate: roomed, outputTokensLeft }) =>
      exchange(
        {
          ...{ ...call, ask, outputTokensLeft },
          shape: { ...call.shape, inputTokensBound: boundInput(ask) },
        },
        roomed,
        target,
      ),
  })
}

async function exchange(call: Call, candidate: Candidate, target: UpstreamTarget): Promise<Exchanged> {
  const { engine, outlet, allowance } = call
  const dispatched = dispatch(call, candidate, target)
  const stopLeaving = whenReaderLeaves(call, dispatched)
  const stopTicking = wakeWhileUnseen(call, dispatched)
  let end: RelayEnd
  try {
    end = await relay(call, dispatched)
  } finally {
    stopTicking()
    stopLeaving()
    dispatched.attempt.stop()
  }
  const trial = trialOf(dispatched, end, {
    readerLeft: outlet.isLeft,
    outputTokensHeld: call.outputTokensLeft ?? allowance.heldTokens,
    nowMs: engine.clock.monotonic(),
  })
  return { dispatched, trial }
}

/**
 * Sends the request. The upstream streams where the caller does, and where the answer could outgrow its hold, for
 * only a stream can be stopped.
 */
function dispatch(call: Call, candidate: Candidate, target: UpstreamTarget): Dispatched {
  const { engine, ask, shape, allowance } = call
  const { clock, transport, limits } = engine
  const { endpoint } = candidate
  const startedAtMs = clock.monotonic()
  const protocol = engine.protocolFor(endpoint.protocol)
  const choices = protocol.choices(ask, endpoint)
  const cap = outputCapFor(call, endpoint, choices)
  const outputTokensAllowed = choices * (cap ?? endpoint.outputTokensMax)
  allowance.setCeiling(outputTokensAllowed)
  const isStreamed = ask.stream || !allowance.holdsEverything
  const { upstreamModel = endpoint.upstreamModel } = target
  const { droppedParameters, ...encoded } = protocol.encode(
    ask,
    { ...endpoint, upstreamModel },
    {
      stream: isStreamed,
      ...(cap === undefined ? {} : { outputTokensCap: cap }),
    },
  )
  const estimate = estimateInput(ask, shape.inputTokensBound, candidate.inputTokensMax)
  const meter = new Meter({
    candidate,
    input: estimate,
    contexts: shape.inputTokensBound.contexts ?? 1,
    choices,
    thinksUnseen: mayThinkUnseen(endpoint, ask, droppedParameters),
    startedAtMs,
  })
  const attempt = new UpstreamAttempt({
    transport,
    request: { target, ...encoded },
    protocol,
    stream: isStreamed,
    clock,
    limits: {
      ...limits,
      firstByteTimeoutMs: engine.firstByteTimeoutMsAt?.(endpoint) ?? limits.firstByteTimeoutMs,
    },
    deadlineAtMs: call.deadlineAtMs,
  })
  const format = emulatedFormat(ask, endpoint)
  const answer = new Answer({
    candidate,
    ask,
    openReply: call.openReply,
    inputEstimate: estimate.usual,
    outlet: call.outlet,
    ...(format ? { keepsBack: call.outputTokensLeft === undefined ? format.type : 'json_schema' } : {}),
  })
  return {
    candidate,
    keepsBack: format !== undefined,
    attempt,
    meter,
    answer,
    expected: new ExpectedAnswer(ask, choices),
    isStreamed,
    choices,
    outputTokensAllowed,
    ...(cap !== undefined && cap < outputAsked(ask, endpoint) ? { outputTokensLowered: cap * choices } : {}),
    droppedParameters,
    startedAtMs,
  }
}

/**
 * Holds all that a candidate can write, as far as it can be held, where a cancel does not stop its bill: a first slice is
 * not enough there, for what it writes beyond could not be stopped.
 */
function holdWhole({ engine, ask, allowance }: Call, { endpoint }: Candidate): Promise<void> | undefined {
  if (ask.maxOutputTokens !== undefined || endpoint.cancelStopsBilling) return undefined
  const choices = engine.protocolFor(endpoint.protocol).choices(ask, endpoint)
  return allowance.reach(choices * endpoint.outputTokensMax)
}

/**
 * The output cap to send, for each choice: the caller's own, as lowered by what he can pay; what is held, where a
 * cancel does not stop the bill or where nothing more could be held. None otherwise: the hold is widened as the answer
 * grows.
 */
function outputCapFor(
  { ask, budget, allowance }: Call,
  endpoint: Endpoint,
  choices: number,
): number | undefined {
  const mayGrow = allowance.heldTokens < budget.outputTokensCap
  if (ask.maxOutputTokens === undefined && endpoint.cancelStopsBilling && mayGrow) return undefined
  const share = Math.max(1, Math.floor(allowance.heldTokens / choices))
  return Math.min(share, outputAsked(ask, endpoint))
}

/** The output that a call asks an endpoint for, in tokens a choice. */
function outputAsked(ask: Ask, { outputTokensMax }: Endpoint): number {
  return Math.min(ask.maxOutputTokens ?? outputTokensMax, outputTokensMax)
}

/** Passes on what the upstream says: counts it, makes sure that it is held, and only then lets it out. */
async function relay(call: Call, dispatched: Dispatched): Promise<RelayEnd> {
  const { attempt, answer } = dispatched
  for (;;) {
    const step = await attempt.next()
    if (step.type === 'ended') {
      if (step.end.type !== 'complete') return step.end
      const { incomplete } = dispatched.expected
      if (incomplete) return { type: 'failed', failure: incomplete }
      if (!dispatched.keepsBack) await answer.complete()
      return step.end
    }
    const end = await takeWhileHeld(call, dispatched, step.events)
    await answer.flush()
    if (!end) continue
    attempt.stop()
    if (end.type !== 'failed') await answer.complete()
    return end
  }
}

/**
 * Takes events one by one, as long as they are what was asked for and what they come to is held. Returns what ends
 * the attempt where one is not.
 */
async function takeWhileHeld(
  { engine, allowance }: Call,
  { meter, answer, expected, outputTokensAllowed }: Dispatched,
  events: readonly StreamEvent[],
): Promise<RelayEnd | undefined> {
  const nowMs = engine.clock.monotonic()
  for (const event of events) {
    if (!expected.takes(event)) return UNASKED
    meter.count(event, nowMs)
    if (meter.outputTokensMin > outputTokensAllowed) return overrun(answer)
    const isCovered = allowance.covers(meter.outputTokensMax(nowMs))
    if (isCovered !== true && !(await isCovered)) return CUT
    answer.take(event, nowMs)
  }
  if (events.length > 0) return undefined
  // It was woken because time passes, and with it unseen output.
  return (await allowance.covers(meter.outputTokensMax(nowMs))) ? undefined : CUT
}

const CUT: RelayEnd = { type: 'cut' }
const UNASKED: RelayEnd = { type: 'failed', failure: { outcome: 'uncertain', reason: 'malformed' } }

/** Whoever goes on past the output that was allowed is stopped; where nothing within it can be shown, others may try. */
function overrun(answer: Answer): RelayEnd {
  if (answer.firstContentAtMs !== undefined) return { type: 'overrun' }
  return { type: 'failed', failure: { outcome: 'uncertain', reason: 'oversized' } }
}

/**
 * The reader leaves, which makes nothing free. A request that has not left is dropped. One that was sent is read on:
 * an answer in one piece to its end, a stream until the provider has said whether it took it; time-outs and the
 * deadline bound both. Then a stream is stopped where that stops the bill and what came tells what it is; any other
 * is read on for a while to learn what it costs.
 */
function whenReaderLeaves({ outlet, engine }: Call, dispatched: Dispatched): Cancel {
  const { attempt, candidate, meter, isStreamed } = dispatched
  let cancelDrain: Cancel = () => {}
  const leaveStream = (): void => {
    if (candidate.endpoint.cancelStopsBilling && !meter.hidesThought) attempt.stop()
    else cancelDrain = engine.clock.schedule(engine.limits.drainMs, () => attempt.stop())
  }
  outlet.whenLeft(() => {
    if (!attempt.isSent) attempt.stop()
    else if (isStreamed) attempt.whenAccepted(leaveStream)
  })
  return () => {
    outlet.whenLeft(() => {})
    cancelDrain()
  }
}

/** Output that cannot be seen grows with time, so its hold is looked after though no event comes. */
function wakeWhileUnseen({ allowance, engine }: Call, { attempt, meter }: Dispatched): Cancel {
  let cancel: Cancel = () => {}
  const wakeLater = (): void => {
    if (!meter.growsUnseen) return
    cancel = engine.clock.schedule(UNSEEN_TICK_MS, () => {
      attempt.wake()
      wakeLater()
    })
  }
  if (!allowance.holdsEverything) wakeLater()
  return () => cancel()
}

/** Who is tried next: nobody after an answer, after a byte of content, past the deadline, or where it would not help. */
function nextCandidate(
  { plan, engine, deadlineAtMs }: Call,
  trials: readonly Trial[],
): Candidate | undefined {
  const last = trials.at(-1)
  if (!last?.attempt.failure || last.status !== 'failed' || last.contentSent) return undefined
  if (engine.clock.monotonic() >= deadlineAtMs) return undefined
  const { candidate, failure } = last.attempt
  if (last.hasAnotherCredential && trials.length < ATTEMPTS_MAX) return candidate
  const rest = plan.candidates.slice(plan.candidates.indexOf(candidate) + 1)
  if (failure.outcome !== 'request_fault') return rest[0]
  // The request is at fault, and only another model, with another context, may see that differently.
  if (failure.reason !== 'context_length') return undefined
  return rest.find(({ endpoint }) => endpoint.model !== candidate.endpoint.model)
}
