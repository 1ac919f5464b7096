import OpenAI from 'openai'

// Reads OPENAI_BASE_URL and OPENAI_API_KEY, which stay on the server.
const client = new OpenAI()

const MESSAGES_MAX = 50
const CHARACTERS_MAX = 20_000
const OUTPUT_TOKENS_MAX = 1_000

interface Message {
  readonly role: 'user' | 'assistant'
  readonly content: string
}

/** `POST /api/chat {messages}` answers with the text of the model as it comes. */
export async function POST(request: Request): Promise<Response> {
  const messages = readMessages(await request.json().catch(() => undefined))
  if (!messages) return Response.json({ error: 'Send messages.' }, { status: 400 })
  try {
    const stream = await client.chat.completions.create(
      {
        model: 'mesh/claude-sonnet-4.5',
        messages: [...messages],
        // Visitors spend your credit: bound what one question can cost, here or by a limit of the key.
        max_tokens: OUTPUT_TOKENS_MAX,
        stream: true,
      },
      // When the visitor leaves, so does the call: what was not produced by then is not paid for.
      { signal: request.signal },
    )
    return new Response(textOf(stream), {
      headers: { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' },
    })
  } catch (error) {
    return refusal(error)
  }
}

function readMessages(body: unknown): readonly Message[] | undefined {
  const messages: unknown =
    typeof body === 'object' && body !== null ? Reflect.get(body, 'messages') : undefined
  if (!Array.isArray(messages) || messages.length === 0 || messages.length > MESSAGES_MAX) return undefined
  return messages.every(isMessage) ? messages : undefined
}

function isMessage(value: unknown): value is Message {
  if (typeof value !== 'object' || value === null) return false
  const { role, content } = value as Partial<Message>
  // A visitor must not write the system prompt.
  return (
    (role === 'user' || role === 'assistant') &&
    typeof content === 'string' &&
    content.length <= CHARACTERS_MAX
  )
}

function textOf(stream: AsyncIterable<OpenAI.ChatCompletionChunk>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  const chunks = stream[Symbol.asyncIterator]()
  return new ReadableStream({
    async pull(controller) {
      try {
        for (;;) {
          const { value, done } = await chunks.next()
          if (done) return controller.close()
          const text = value.choices[0]?.delta.content
          if (text) return controller.enqueue(encoder.encode(text))
        }
      } catch (error) {
        // A stream that breaks off must not look like the end of the answer.
        controller.error(error)
      }
    },
    async cancel() {
      await chunks.return?.()
    },
  })
}

/** What went wrong on your account is not the visitor's business; that he should wait is. */
function refusal(error: unknown): Response {
  const status = error instanceof OpenAI.APIError ? error.status : undefined
  if (status === 429 || status === 503) {
    return Response.json({ error: 'Too much to do at the moment. Try again soon.' }, { status: 503 })
  }
  console.error(error instanceof OpenAI.APIError ? `MESH answered ${status} ${error.code}` : error)
  return Response.json({ error: 'This does not work at the moment.' }, { status: 502 })
}
