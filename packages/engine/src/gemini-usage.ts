import type { TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { Json, JsonObject } from './ask.ts'
import type { ReportedUsage, UsageFlag } from './stream-event.ts'
import { carver, countOf, restOf } from './usage.ts'
import { arrayOf, objectOf } from './wire-json.ts'

/**
 * Reads Gemini's `usageMetadata`, by the rules of `usage.ts`. The prompt's count includes what came from the cache;
 * what hosted tools put into the prompt is counted beside it, and so are thoughts beside the candidates; the total is
 * the sum of the four. https://ai.google.dev/api/generate-content#UsageMetadata
 */
export function geminiUsage(usage: JsonObject): ReportedUsage {
  const flags = new Set<UsageFlag>()
  const count = (value: Json | undefined) => countOf(value, flags)
  const total = count(usage.totalTokenCount)
  const toolUse = count(usage.toolUsePromptTokenCount) ?? 0
  const thoughts = count(usage.thoughtsTokenCount) ?? 0
  const givenPrompt = count(usage.promptTokenCount)
  const givenCandidates = count(usage.candidatesTokenCount)
  const known = total === undefined ? undefined : Math.max(0, total - toolUse - thoughts)
  const prompt = givenPrompt ?? restOf(known, givenCandidates)
  const candidates = givenCandidates ?? restOf(known, givenPrompt)
  if (prompt === undefined || candidates === undefined) flags.add('missing')

  const explained = (prompt ?? 0) + toolUse + (candidates ?? 0) + thoughts
  const besides = total === undefined ? 0 : total - explained
  if (besides !== 0) flags.add('sum_mismatch')

  const output = carver((candidates ?? 0) + Math.max(0, besides), flags)
  const out = byModality(usage.candidatesTokensDetails, count)
  const outputAudio = output.take(out.audio)
  const outputImage = output.take(out.image)

  const input = carver((prompt ?? 0) + toolUse, flags)
  const into = byModality(usage.promptTokensDetails, count)
  const inputAudio = input.take(into.audio)
  const inputImage = input.take(into.image)
  // Cached sound costs more than cached text, for which alone there is a rate: it stays with the sound, at its rate.
  const cachedAudio = byModality(usage.cacheTokensDetails, count).audio
  const cached = count(usage.cachedContentTokenCount) ?? 0
  const cacheRead = input.takeCheaper(Math.max(0, cached - Math.min(cachedAudio, inputAudio)))

  const buckets = {
    input: input.rest(),
    cacheRead,
    cacheWrite5m: 0,
    cacheWrite1h: 0,
    inputAudio,
    inputImage,
    output: output.rest(),
    reasoning: thoughts,
    outputAudio,
    outputImage,
  } satisfies TokenBuckets
  return { buckets, flags: [...flags] }
}

/** The tokens of sound and of pictures in a list of counts by modality; all others are counted as text is. */
function byModality(
  details: Json | undefined,
  count: (value: Json | undefined) => number | undefined,
): { readonly audio: number; readonly image: number } {
  const sums = { audio: 0, image: 0 }
  for (const entry of arrayOf(details)) {
    const detail = objectOf(entry)
    const tokens = count(detail?.tokenCount) ?? 0
    if (detail?.modality === 'AUDIO') sums.audio += tokens
    if (detail?.modality === 'IMAGE') sums.image += tokens
  }
  return sums
}
