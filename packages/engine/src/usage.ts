import { EMPTY_BUCKETS, type TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { Json, JsonObject } from './ask.ts'
import type { ReportedUsage, UsageFlag } from './stream-event.ts'
import { objectOf } from './wire-json.ts'

/*
 * Providers' numbers, turned into disjoint buckets. The rule for numbers that cannot be true:
 * - A count that is negative, or no number, counts as not given; a fraction is rounded up. Both are flagged.
 * - A total is the largest that the numbers allow: of "the parts add up to more" and "the total is more" the larger
 *   one counts, and what no part explains is output, which is never cheaper than input.
 * - A part that is dearer than its total's plain rate (cache writes, audio, images) is clamped to the total; a part
 *   that is cheaper (cache reads) and larger than the whole is not believed, so that its tokens cost the plain rate.
 * - Where the input or the output is neither given nor follows from the rest, it is 0 and flagged `missing`: the one
 *   who meters must estimate it, for no answer is free because its provider forgot to count.
 */

/** Reads OpenAI's `usage`, in all the dialects of those who copied it. Its totals include cached and hidden tokens. */
export function openaiUsage(usage: JsonObject): ReportedUsage {
  const flags = new Set<UsageFlag>()
  const count = (value: Json | undefined) => countOf(value, flags)
  const promptDetails = objectOf(usage.prompt_tokens_details) ?? {}
  const completionDetails = objectOf(usage.completion_tokens_details) ?? {}

  const total = count(usage.total_tokens)
  const givenPrompt = count(usage.prompt_tokens)
  const givenCompletion = count(usage.completion_tokens)
  const prompt = givenPrompt ?? restOf(total, givenCompletion)
  const completion = givenCompletion ?? restOf(total, givenPrompt)
  if (prompt === undefined || completion === undefined) flags.add('missing')

  const reasoning = count(completionDetails.reasoning_tokens) ?? 0
  const outputTotal = completionTotal(prompt ?? 0, completion ?? 0, reasoning, total, flags)
  const output = carver(outputTotal, flags)
  const outputAudio = output.take(count(completionDetails.audio_tokens) ?? 0)
  const outputImage = output.take(count(completionDetails.image_tokens) ?? 0)
  const hidden = output.take(reasoning)

  const input = carver(prompt ?? 0, flags)
  const inputAudio = input.take(count(promptDetails.audio_tokens) ?? 0)
  const inputImage = input.take(count(promptDetails.image_tokens) ?? 0)
  const cacheWrite5m = input.take(count(promptDetails.cache_write_tokens) ?? 0)
  const cacheRead = input.takeCheaper(cachedPromptTokens(usage, promptDetails, count))

  const buckets = {
    input: input.rest(),
    cacheRead,
    cacheWrite5m,
    cacheWrite1h: 0,
    inputAudio,
    inputImage,
    output: output.rest(),
    reasoning: hidden,
    outputAudio,
    outputImage,
  } satisfies TokenBuckets
  return { buckets, flags: [...flags] }
}

/**
 * Everything that came out. Most count hidden reasoning inside `completion_tokens`; some (xAI, Gemini's copy) leave it
 * out, which shows in their total.
 */
function completionTotal(
  prompt: number,
  completion: number,
  reasoning: number,
  total: number | undefined,
  flags: Set<UsageFlag>,
): number {
  const besides = total === undefined ? 0 : total - prompt - completion
  if (besides !== 0 && besides !== reasoning) flags.add('sum_mismatch')
  const counted = completion + Math.max(0, besides)
  if (reasoning <= counted) return counted
  flags.add('sum_mismatch')
  return completion + reasoning
}

/** Cache reads under every name that is in use; where two disagree the smaller, for a read is the cheaper token. */
function cachedPromptTokens(
  usage: JsonObject,
  details: JsonObject,
  count: (value: Json | undefined) => number | undefined,
): number {
  const given = [
    details.cached_tokens,
    usage.prompt_cache_hit_tokens,
    usage.num_cached_tokens,
    usage.cached_tokens,
  ]
  const counts = given.map(count).filter((value) => value !== undefined)
  return counts.length === 0 ? 0 : Math.min(...counts)
}

/**
 * Reads Anthropic's `usage`. `input_tokens` leaves out what was read from and written to the cache, `output_tokens`
 * includes thinking.
 */
export function anthropicUsage(usage: JsonObject): ReportedUsage {
  const flags = new Set<UsageFlag>()
  const count = (value: Json | undefined) => countOf(value, flags)
  const input = count(usage.input_tokens)
  const written = count(usage.cache_creation_input_tokens)
  const output = count(usage.output_tokens)
  if (input === undefined || output === undefined) flags.add('missing')

  const split = objectOf(usage.cache_creation)
  const shortWrites = count(split?.ephemeral_5m_input_tokens) ?? 0
  const longWrites = count(split?.ephemeral_1h_input_tokens) ?? 0
  // The cumulative total of a stream's end comes without the split that its start had. What the split does not
  // explain was written at the dearer rate that the split shows in use; without any split it is the default of 5 m.
  const unexplained = Math.max(0, (written ?? 0) - shortWrites - longWrites)
  if (written !== undefined && shortWrites + longWrites > written) flags.add('sum_mismatch')

  const thinking = count(objectOf(usage.output_tokens_details)?.thinking_tokens) ?? 0
  if (thinking > (output ?? 0)) flags.add('sum_mismatch')

  const buckets = {
    input: input ?? 0,
    cacheRead: count(usage.cache_read_input_tokens) ?? 0,
    cacheWrite5m: shortWrites + (longWrites === 0 ? unexplained : 0),
    cacheWrite1h: longWrites + (longWrites === 0 ? 0 : unexplained),
    inputAudio: 0,
    inputImage: 0,
    output: Math.max(0, (output ?? 0) - thinking),
    reasoning: thinking,
    outputAudio: 0,
    outputImage: 0,
  } satisfies TokenBuckets
  return { buckets, flags: [...flags] }
}

/** Reads the `usage` of vectors and scores, for which nothing is generated: its total is its input. */
export function inputOnlyUsage(usage: JsonObject): ReportedUsage {
  const flags = new Set<UsageFlag>()
  const prompt = countOf(usage.prompt_tokens, flags)
  const total = countOf(usage.total_tokens, flags)
  if (prompt !== undefined && total !== undefined && prompt !== total) flags.add('sum_mismatch')
  if (prompt === undefined && total === undefined) flags.add('missing')
  const input = Math.max(prompt ?? 0, total ?? 0)
  return { buckets: { ...EMPTY_BUCKETS, input }, flags: [...flags] }
}

/**
 * Reads Cohere's `usage` (`meta` of its embeddings). What Cohere charges for is `billed_units`; `tokens` also counts
 * what its own templates and a model's thinking add, "which users are not charged for", so it counts only where no
 * billed units are given. `cached_tokens` are some of `tokens`, not of the billed ones, and have no price of their own.
 * https://docs.cohere.com/v2/docs/how-does-cohere-pricing-work, and in the recorded exchanges thought is not billed.
 */
export function cohereUsage(usage: JsonObject): ReportedUsage {
  const flags = new Set<UsageFlag>()
  const count = (value: Json | undefined) => countOf(value, flags)
  const billed = objectOf(usage.billed_units)
  const processed = objectOf(usage.tokens)
  const inputImage = count(billed?.image_tokens) ?? 0
  const input = count(billed?.input_tokens) ?? count(processed?.input_tokens)
  const output = count(billed?.output_tokens) ?? count(processed?.output_tokens)
  if (input === undefined) flags.add('missing')
  return {
    buckets: { ...EMPTY_BUCKETS, input: input ?? 0, inputImage, output: output ?? 0 },
    flags: [...flags],
  }
}

/** A count as a non-negative safe integer, or `undefined` where none was given or none can be made of it. */
export function countOf(value: Json | undefined, flags: Set<UsageFlag>): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number' || !(value <= TOKENS_MAX)) {
    flags.add('not_an_integer')
    return undefined
  }
  if (value < 0) {
    flags.add('negative')
    return undefined
  }
  if (!Number.isInteger(value)) flags.add('not_an_integer')
  return Math.ceil(value) + 0
}

/** More tokens than any model takes; sums of such counts are still exact. */
const TOKENS_MAX = 1e12

export function restOf(total: number | undefined, part: number | undefined): number | undefined {
  return total === undefined || part === undefined ? undefined : Math.max(0, total - part)
}

/** Cuts parts out of a total, so that parts and rest always add up to it. */
export function carver(total: number, flags: Set<UsageFlag>) {
  let left = total
  return {
    /** A part that costs at least as much as the rest: clamped to what is left. */
    take(part: number): number {
      if (part > left) flags.add('sum_mismatch')
      const taken = Math.min(part, left)
      left -= taken
      return taken
    },
    /**
     * A part that costs less. It may overlap with the parts taken before (a cached image, a prefix that was read and
     * written); where they do not fit side by side they are taken to overlap as far as they can.
     */
    takeCheaper(part: number): number {
      if (part > total) {
        flags.add('sum_mismatch')
        return 0
      }
      const taken = part <= left ? part : Math.max(0, part - (total - left))
      left -= taken
      return taken
    },
    rest: () => left,
  }
}
