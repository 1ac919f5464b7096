import { chunked, headOf, OPENAI } from './hostile-answers.ts'
import { type RawUpstream, startRawUpstream } from './raw-upstream.ts'

/** The model that it serves, for live keys. */
export const UNFINISHED_MODEL = 'mesh/gpt-4o-mini'
/** What it says of every answer. */
export const UNFINISHED_TEXT = 'ALPHA ALPHA ALPHA '
/** A prompt that has the connection break after that. Without it, it waits until nobody listens any more. */
export const BREAK_OFF = 'Break off.'

/** A provider that begins every answer and ends none. */
export async function startUnfinishedUpstream() {
  const upstream: RawUpstream = await startRawUpstream(({ body }) => async (wire) => {
    const begun = OPENAI.opening('') + OPENAI.piece('ALPHA ').repeat(3)
    const streaming = { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' }
    await wire.write(headOf(200, streaming) + chunked(begun))
    if (body.includes(BREAK_OFF)) wire.reset()
    else await wire.whenGone()
  })
  return {
    environment: { OPENAI_API_KEY: 'sk-simulated', MESH_OPENAI_BASE_URL: `${upstream.baseUrl('openai')}/v1` },
    /** Connections that are open. */
    open: () => upstream.open,
    close: () => upstream.close(),
  }
}
