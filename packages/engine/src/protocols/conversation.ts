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

/** Claude refuses the beginning of an answer, for it to go on with, that ends in white space. */
export function trimPrefill(
  turns: readonly { readonly role: string; readonly content: Readonly<Record<string, unknown>>[] }[],
): void {
  const last = turns.at(-1)
  const text = last?.content.at(-1)?.text
  if (last?.role !== 'assistant' || typeof text !== 'string') return
  last.content.push({ ...last.content.pop(), text: text.trimEnd() })
}
