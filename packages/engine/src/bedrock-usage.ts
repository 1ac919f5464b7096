import type { TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { Json, JsonObject } from './ask.ts'
import type { ReportedUsage, UsageFlag } from './stream-event.ts'
import { countOf, restOf } from './usage.ts'
import { arrayOf, objectOf } from './wire-json.ts'

/**
 * Reads Bedrock's `usage`, by the rules of `usage.ts`. `inputTokens` leaves out what was read from and written to the
 * cache, `outputTokens` includes reasoning without saying how much, and `totalTokens` is the sum of all four.
 * https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
 */
export function bedrockUsage(usage: JsonObject): ReportedUsage {
  const flags = new Set<UsageFlag>()
  const count = (value: Json | undefined) => countOf(value, flags)
  const total = count(usage.totalTokens)
  const cacheRead = count(usage.cacheReadInputTokens) ?? 0
  const written = count(usage.cacheWriteInputTokens)
  const { shortWrites, longWrites } = cacheWrites(written, usage.cacheDetails, flags)
  const cached = cacheRead + shortWrites + longWrites
  const givenInput = count(usage.inputTokens)
  const givenOutput = count(usage.outputTokens)
  const known = total === undefined ? undefined : Math.max(0, total - cached)
  const input = givenInput ?? restOf(known, givenOutput)
  const output = givenOutput ?? restOf(known, givenInput)
  if (input === undefined || output === undefined) flags.add('missing')
  const besides = known === undefined ? 0 : known - (input ?? 0) - (output ?? 0)
  if (besides !== 0) flags.add('sum_mismatch')
  const buckets = {
    input: input ?? 0,
    cacheRead,
    cacheWrite5m: shortWrites,
    cacheWrite1h: longWrites,
    inputAudio: 0,
    inputImage: 0,
    // What no part explains is output, which is never cheaper; where neither is known the meter estimates both.
    output: (output ?? 0) + (input === undefined && output === undefined ? 0 : Math.max(0, besides)),
    reasoning: 0,
    outputAudio: 0,
    outputImage: 0,
  } satisfies TokenBuckets
  return { buckets, flags: [...flags] }
}

/**
 * Cache writes by how long they last. What the details do not explain was written at the dearer rate that they show
 * in use; without any it is the default of five minutes.
 */
function cacheWrites(written: number | undefined, details: Json | undefined, flags: Set<UsageFlag>) {
  let shortWrites = 0
  let longWrites = 0
  for (const entry of arrayOf(details)) {
    const detail = objectOf(entry)
    const tokens = countOf(detail?.inputTokens, flags) ?? 0
    if (detail?.ttl === '1h') longWrites += tokens
    else shortWrites += tokens
  }
  const unexplained = Math.max(0, (written ?? 0) - shortWrites - longWrites)
  if (written !== undefined && shortWrites + longWrites > written) flags.add('sum_mismatch')
  if (longWrites > 0) longWrites += unexplained
  else shortWrites += unexplained
  return { shortWrites, longWrites }
}
