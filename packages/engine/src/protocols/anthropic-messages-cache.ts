import type { CacheMark, JsonObject } from '../ask.ts'

/** A cache mark in Anthropic's words. */
export function cacheControl(mark: CacheMark | undefined): JsonObject | undefined {
  return mark === undefined ? undefined : { type: 'ephemeral', ttl: mark.ttl }
}
