import type { Ask } from './ask.ts'
import {
  checkedJson,
  emulatedFormat,
  type JsonResult,
  type RepairRoom,
  roomForRepair,
} from './emulated-json.ts'
import type { Candidate } from './plan.ts'
import { type Dispatched, repairedTrial, type Trial } from './trial.ts'

/** One request, with what became of it. An answer that is whole and kept back is still to be given out. */
export interface Exchanged {
  readonly dispatched: Dispatched
  readonly trial: Trial
}

export interface JsonAnswerInput {
  readonly ask: Ask
  readonly candidate: Candidate
  readonly first: Exchanged
  /** What the call holds now, in tokens. */
  readonly outputTokensHeld: number
  /** Whether anybody waits for the answer yet. */
  readonly isAwaited: () => boolean
  /** Asks the same endpoint once more. Its answer is kept back to its end. */
  readonly askAgain: (room: RepairRoom) => Promise<Exchanged>
}

/**
 * Gives out an answer that was to be JSON. Where it was asked for in words it is looked at first, and what is wrong gets
 * one more question, as far as there is room for it (`roomForRepair`). What is still wrong is given out as it is, and is
 * said to be: its caller pays for it, so that nobody can have answers for nothing by asking for them as JSON.
 */
export async function finishJson(input: JsonAnswerInput): Promise<Trial> {
  const { ask, candidate, first, isAwaited } = input
  const { dispatched, trial } = first
  const format = emulatedFormat(ask, candidate.endpoint)
  if (!format) return wantsJson(ask) ? { ...trial, json: 'native' } : trial
  const isText = trial.status === 'completed' && trial.finishReason === 'stop' && ask.choices === 1
  if (!isText) return given(first, 'unchecked')
  const { answer } = dispatched
  const checked = checkedJson(format, answer.said)
  if (checked.isValid && checked.result === 'valid') return given(first, 'valid')
  if (!answer.isKeptBack) return given(first, 'invalid')
  if (checked.isValid) {
    answer.replaceText(checked.text)
    return given(first, 'extracted')
  }
  const room = roomForRepair({
    ...{ ask, candidate, outputTokensHeld: input.outputTokensHeld },
    ...{ text: answer.said, problem: checked.problem, usage: trial.usage },
  })
  if (!room || !isAwaited()) return given(first, 'invalid')
  const second = await input.askAgain(room)
  // The first answer is still there, and whole.
  if (second.trial.attempt.failure) return given(first, 'invalid')
  const again = checkedJson(format, second.dispatched.answer.said)
  if (again.isValid) second.dispatched.answer.replaceText(again.text)
  const together = repairedTrial(trial, second.trial)
  return given({ ...second, trial: together }, again.isValid ? 'repaired' : 'invalid')
}

function wantsJson({ responseFormat }: Ask): boolean {
  return responseFormat !== undefined && responseFormat.type !== 'text'
}

/** Gives out what was kept back, and says how the JSON came about. */
async function given({ dispatched: { answer }, trial }: Exchanged, json: JsonResult): Promise<Trial> {
  if (trial.status === 'completed') await answer.complete()
  return { ...trial, contentSent: answer.contentSent, json }
}
