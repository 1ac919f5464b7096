import { chatCompletions } from './chat-completions/chat-completions.ts'
import { embeddings } from './embeddings/embeddings.ts'
import { messages } from './messages/messages.ts'
import { rerank } from './rerank/rerank.ts'
import { responses } from './responses/responses.ts'
import type { Shape } from './shape.ts'

/** Every shape in which calls are taken. */
export const SHAPES: readonly Shape[] = [chatCompletions, responses, messages, embeddings, rerank]

/** The shape whose clients ask for a URL's path: its own path, or one below it. */
export function shapeAt(url: string): Shape | undefined {
  return SHAPES.find(({ path }) => url.startsWith(path) && /^(?:$|[/?])/.test(url.slice(path.length)))
}
