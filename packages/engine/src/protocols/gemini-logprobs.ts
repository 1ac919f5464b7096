import type { Json, JsonObject } from '../ask.ts'
import { arrayOf, objectOf } from '../wire-json.ts'

/** Gemini's log probabilities in OpenAI's shape, or `undefined` where there are none. */
export function logprobsOf(result: Json | undefined): JsonObject | undefined {
  const chosen = arrayOf(objectOf(result)?.chosenCandidates)
  if (chosen.length === 0) return undefined
  const likeliest = arrayOf(objectOf(result)?.topCandidates)
  const content = chosen.flatMap((entry, place) => {
    const token = tokenProbability(entry)
    const others = arrayOf(objectOf(likeliest[place])?.candidates)
    return token ? [{ ...token, top_logprobs: others.flatMap((other) => tokenProbability(other) ?? []) }] : []
  })
  return { content, refusal: null }
}

function tokenProbability(entry: Json): JsonObject | undefined {
  const given = objectOf(entry)
  if (typeof given?.token !== 'string' || typeof given.logProbability !== 'number') return undefined
  const bytes = [...new TextEncoder().encode(given.token)]
  return { token: given.token, logprob: given.logProbability, bytes }
}
