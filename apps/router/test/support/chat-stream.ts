/** What ends a stream that is whole. */
export const STREAM_END = '[DONE]'

/**
 * The payloads of a stream's events as they come, the last one included, without the comments. Ends when the
 * connection does; rejects when that breaks.
 */
export async function* streamPayloads(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of response.body ?? []) {
    rest += decoder.decode(bytes, { stream: true })
    const events = rest.split('\n\n')
    rest = events.pop() ?? ''
    for (const event of events) {
      for (const line of event.split('\n')) if (line.startsWith('data: ')) yield line.slice('data: '.length)
    }
  }
}
