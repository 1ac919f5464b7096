import type { Usage } from '../family.ts'
import type { ChatDialect } from './dialects.ts'

/** Usage as the provider words it. What is inside what differs between them, and so do the names. */
export function usageBody(dialect: ChatDialect, usage: Usage) {
  const { inputTokens, outputTokens, reasoningTokens } = usage
  const cachedTokens = usage.cache.read
  const totals = {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
  }
  switch (dialect.usage) {
    case 'openai':
      return {
        ...totals,
        prompt_tokens_details: { cached_tokens: cachedTokens, audio_tokens: 0 },
        completion_tokens_details: {
          reasoning_tokens: reasoningTokens,
          audio_tokens: 0,
          accepted_prediction_tokens: 0,
          rejected_prediction_tokens: 0,
        },
      }
    case 'xai':
      return {
        ...totals,
        completion_tokens: outputTokens - reasoningTokens,
        prompt_tokens_details: {
          text_tokens: inputTokens,
          audio_tokens: 0,
          image_tokens: 0,
          cached_tokens: cachedTokens,
        },
        completion_tokens_details: {
          reasoning_tokens: reasoningTokens,
          audio_tokens: 0,
          accepted_prediction_tokens: 0,
          rejected_prediction_tokens: 0,
        },
        num_sources_used: 0,
      }
    case 'deepseek':
      return {
        ...totals,
        prompt_tokens_details: { cached_tokens: cachedTokens },
        completion_tokens_details: { reasoning_tokens: reasoningTokens },
        prompt_cache_hit_tokens: cachedTokens,
        prompt_cache_miss_tokens: inputTokens - cachedTokens,
      }
    case 'groq':
      return {
        queue_time: 0.001,
        prompt_time: 0.001,
        completion_time: 0.001,
        total_time: 0.002,
        ...totals,
        ...(cachedTokens > 0 ? { prompt_tokens_details: { cached_tokens: cachedTokens } } : {}),
        ...(reasoningTokens > 0 ? { completion_tokens_details: { reasoning_tokens: reasoningTokens } } : {}),
      }
    case 'mistral':
      return { ...totals, prompt_tokens_details: { cached_tokens: cachedTokens } }
    case 'plain':
      return { ...totals, prompt_tokens_details: cachedTokens > 0 ? { cached_tokens: cachedTokens } : null }
  }
}
