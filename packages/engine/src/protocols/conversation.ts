import type { MediaSource, Message, TextPart } from '../ask.ts'

/** Adds an instruction to the first system message, or in front: many chat templates take one, at the start. */
export function instructed(
  messages: readonly Message[],
  instruction: string | undefined,
): readonly Message[] {
  if (instruction === undefined) return messages
  const part: TextPart = { type: 'text', text: instruction }
  const [first, ...rest] = messages
  if (first?.role === 'system' || first?.role === 'developer') {
    return [{ ...first, parts: [...first.parts, part] }, ...rest]
  }
  return [{ role: 'system', parts: [part] }, ...messages]
}

/** Where a picture or a document is: its URL, or its bytes as a data URL. */
export function urlOf(source: MediaSource): string {
  return source.kind === 'url' ? source.url : `data:${source.mediaType};base64,${source.base64}`
}
