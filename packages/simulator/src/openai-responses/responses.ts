import type { ReadRequest } from '../family.ts'
import { type JsonObject, numberAt } from '../json.ts'
import { checkModel } from '../openai-chat/check.ts'
import { type ChatDialect, openAiModel, useDialectsCache } from '../openai-chat/dialects.ts'
import { invalid, refuse } from '../openai-chat/refusal.ts'
import { totalTokens } from '../prompt-cache.ts'
import { checkResponsesRequest } from './check.ts'
import { readResponsesPrompt } from './read.ts'
import { responsesRendering } from './render.ts'

/** Reads a request to OpenAI's Responses. https://platform.openai.com/docs/api-reference/responses */
export function readResponses(body: JsonObject, dialect: ChatDialect, requestId: string): ReadRequest {
  const problem = checkModel(body, dialect) ?? checkResponsesRequest(body)
  if (problem !== undefined) return { kind: 'refused', reply: refuse(dialect, problem, requestId) }
  const prompt = readResponsesPrompt(body)
  const { contextTokens } = openAiModel(prompt.model)
  if (totalTokens(prompt.parts) + (numberAt(body, 'max_output_tokens') ?? 0) > contextTokens) {
    const message =
      'Your input exceeds the context window of this model. Please adjust your input and try again.'
    const long = invalid(message, 'input', 'context_length_exceeded')
    return { kind: 'refused', reply: refuse(dialect, long, requestId) }
  }
  return {
    kind: 'understood',
    prompt,
    hidesReasoning: true,
    useCache: useDialectsCache(dialect, body, prompt),
    render: responsesRendering(body),
  }
}
