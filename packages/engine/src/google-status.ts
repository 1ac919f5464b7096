import type { Json, JsonObject } from './ask.ts'
import { arrayOf, objectOf, textOf } from './wire-json.ts'

/** What the details of a Google error say besides its status. */
export interface GoogleStatusDetails {
  /** The reasons (`API_KEY_INVALID`) and the quotas that are used up (`…PerDayPerProjectPerModel`), in lower case. */
  readonly words: string
  readonly retryAfterMs: number | undefined
}

/** More details and violations than Google sends: no error makes us read longer. */
const DETAILS_MAX = 32
const WORD_CHARACTERS_MAX = 200

/**
 * Reads the details of a `google.rpc.Status`, by their types: https://google.aip.dev/193. Google's APIs tell when to
 * come back here, and in no header; and all their 429s have one text, so that only the quota tells whether it is a
 * minute's or a day's.
 */
export function googleStatusDetails(error: JsonObject | undefined): GoogleStatusDetails {
  const words: string[] = []
  let retryAfterMs: number | undefined
  for (const entry of arrayOf(error?.details).slice(0, DETAILS_MAX)) {
    const detail = objectOf(entry)
    switch (textOf(detail?.['@type'])) {
      case 'type.googleapis.com/google.rpc.ErrorInfo':
        words.push(word(detail?.reason))
        break
      case 'type.googleapis.com/google.rpc.QuotaFailure':
        for (const violation of arrayOf(detail?.violations).slice(0, DETAILS_MAX)) {
          words.push(word(objectOf(violation)?.quotaId))
        }
        break
      case 'type.googleapis.com/google.rpc.RetryInfo':
        retryAfterMs = durationMs(detail?.retryDelay)
    }
  }
  return { words: words.join(' '), retryAfterMs }
}

function word(value: Json | undefined): string {
  return (textOf(value) ?? '').slice(0, WORD_CHARACTERS_MAX).toLowerCase()
}

/** A protobuf duration as JSON has it: `34.074824224s`. */
function durationMs(value: Json | undefined): number | undefined {
  const seconds = /^(\d{1,9}(?:\.\d{1,9})?)s$/.exec(textOf(value) ?? '')?.[1]
  return seconds === undefined ? undefined : Number(seconds) * 1000
}
