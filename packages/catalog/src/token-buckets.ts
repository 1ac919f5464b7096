/**
 * Tokens of one call, in disjoint buckets: every token is in exactly one of them, so a cost is one sum.
 * Providers count differently (OpenAI's prompt tokens include cached ones, Anthropic's do not; OpenAI's completion
 * tokens include reasoning, Gemini's do not): each protocol converts into these.
 * All counts are non-negative safe integers.
 */
export interface TokenBuckets {
  /** Text input that was neither read from nor written to a prompt cache. */
  readonly input: number
  readonly cacheRead: number
  readonly cacheWrite5m: number
  readonly cacheWrite1h: number
  readonly inputAudio: number
  readonly inputImage: number
  /** Visible output. */
  readonly output: number
  readonly reasoning: number
  readonly outputAudio: number
  readonly outputImage: number
}

/** The buckets' names in the order in which they are written everywhere. */
export const BUCKET_NAMES = [
  'input',
  'cacheRead',
  'cacheWrite5m',
  'cacheWrite1h',
  'inputAudio',
  'inputImage',
  'output',
  'reasoning',
  'outputAudio',
  'outputImage',
] as const satisfies readonly (keyof TokenBuckets)[]

export const EMPTY_BUCKETS: TokenBuckets = {
  input: 0,
  cacheRead: 0,
  cacheWrite5m: 0,
  cacheWrite1h: 0,
  inputAudio: 0,
  inputImage: 0,
  output: 0,
  reasoning: 0,
  outputAudio: 0,
  outputImage: 0,
}

/** Everything that went in, cached or not: what price tiers are chosen by. */
export function inputTokens(buckets: TokenBuckets): number {
  return (
    buckets.input +
    buckets.cacheRead +
    buckets.cacheWrite5m +
    buckets.cacheWrite1h +
    buckets.inputAudio +
    buckets.inputImage
  )
}

/** Everything that came out, visible or not. */
export function outputTokens(buckets: TokenBuckets): number {
  return buckets.output + buckets.reasoning + buckets.outputAudio + buckets.outputImage
}

/** Two calls' tokens together. */
export function addBuckets(left: TokenBuckets, right: TokenBuckets): TokenBuckets {
  const sum = { ...left }
  for (const name of BUCKET_NAMES) sum[name] += right[name]
  return sum
}
