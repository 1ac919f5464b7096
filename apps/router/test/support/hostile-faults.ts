import { gzipSync } from 'node:zlib'
import { answerOf, CHUNKED_END, chunked, headOf, OPENAI, PIECES, wholeBody } from './hostile-answers.ts'
import type { Stage } from './hostile-calls.ts'

/* The ways in which a provider can break, as tables: in place of an answer, and within one. */

/** Where a fault strikes a body. */
export type Place = 'before' | 'after'
/** `gathered`: the provider streams, for the answer could outgrow its hold, and the caller does not. */
export type Mode = 'streamed' | 'whole' | 'gathered'
export const MODES: readonly Mode[] = ['streamed', 'whole', 'gathered']
interface Strike extends Stage {
  readonly place: Place
  /** Sends a part of the body. Resolves to false when nobody listens any more. */
  say(text: string): Promise<boolean>
  /** Ends the body as HTTP has it. */
  endBody(): Promise<void>
}
export type Combination = Pick<Strike, 'streamed' | 'place' | 'dialect'> & { readonly mode: Mode }

export interface Fault {
  readonly name: string
  /** What the attempt is recorded as. `too_late`: whichever time-out strikes first on a busy machine. */
  readonly reason: string | ((combination: Combination) => string)
  /** `uncertain` where it is not said. */
  readonly outcome?: string
  /** Whether it needs the router of short patience. */
  readonly isEndless?: boolean
  /** Combinations that it exists in; all where absent. */
  readonly exists?: (combination: Combination) => boolean
}

/** A fault in place of an answer. */
export interface HeadFault extends Fault {
  readonly play: (stage: Stage) => Promise<unknown> | unknown
}

/** A fault in the midst of a body that began well. */
export interface BodyFault extends Fault {
  /** Whether the head promises no length, so that the end of the connection is that of the answer. */
  readonly closesConnection?: boolean
  readonly strike: (strike: Strike) => Promise<unknown> | unknown
}

const BOMB = gzipSync(Buffer.alloc(8 * 1024 * 1024))
const MEGABYTE = 'x'.repeat(1024 * 1024)

/** Sends a whole answer and ends. */
function answering(bytes: (stage: Stage) => string | Uint8Array): HeadFault['play'] {
  return async (stage) => {
    await stage.wire.write(bytes(stage))
    stage.wire.end()
  }
}

function body({ dialect, streamed, noise }: Stage): string {
  return wholeBody(dialect, { mark: 'ALPHA', streamed, noise })
}

export const HEAD_FAULTS: readonly HeadFault[] = [
  {
    name: 'a web page under status 200',
    reason: 'wrong_content_type',
    play: answering(({ noise }) => answerOf(`<html>${noise}</html>`, { 'content-type': 'text/html' })),
  },
  {
    name: 'a picture under status 200',
    reason: 'wrong_content_type',
    play: answering(() =>
      answerOf(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a]), { 'content-type': 'image/png' }),
    ),
  },
  {
    name: 'a compressed answer that nobody asked for, a bomb at that',
    reason: 'wrong_content_type',
    play: answering(() => answerOf(BOMB, { 'content-encoding': 'gzip' })),
  },
  { name: 'nothing under status 200', reason: 'empty', play: answering(() => answerOf('')) },
  { name: 'status 204', reason: 'empty', play: answering(() => headOf(204)) },
  { name: 'status 205', reason: 'empty', play: answering(() => headOf(205, { 'content-length': '0' })) },
  { name: 'status 304', reason: 'server_error', play: answering(() => headOf(304)) },
  ...[302, 307].map((status) => ({
    name: `a redirect ${status} to another host`,
    reason: 'server_error',
    play: answering(({ request, noise }) => {
      const port = /^host: \S+:(\d+)/im.exec(request.head)?.[1]
      return headOf(status, {
        location: `http://localhost:${port}/elsewhere/${noise}`,
        'content-length': '0',
      })
    }),
  })),
  {
    name: 'a switch to another protocol',
    reason: 'connection_cut',
    play: answering(() => headOf(101, { connection: 'upgrade', upgrade: 'websocket' })),
  },
  {
    name: 'a megabyte of headers',
    reason: 'oversized',
    play: answering((stage) => answerOf(body(stage), { 'x-request-id': MEGABYTE })),
  },
  { name: 'a reset in place of a head', reason: 'connection_cut', play: ({ wire }) => wire.reset() },
  {
    name: 'a reset within the head',
    reason: 'connection_cut',
    play: async ({ wire }) => {
      await wire.write('HTTP/1.1 200 OK\r\ncontent-ty')
      wire.reset()
    },
  },
  { name: 'an end in place of a head', reason: 'connection_cut', play: ({ wire }) => wire.end() },
  {
    name: 'something that is not HTTP',
    reason: 'malformed',
    play: answering(({ noise }) => `SSH-2.0-OpenSSH_9.9 ${noise}\r\n`),
  },
  {
    name: 'two lengths',
    reason: 'connection_cut',
    play: answering((stage) => answerOf(body(stage), { 'Content-Length': '7' })),
  },
  {
    name: 'peer bug (Portkey#267): an error body with HTTP 200',
    reason: 'server_error',
    play: answering(({ dialect, noise }) =>
      answerOf(dialect.errorBody(noise), { 'content-type': 'application/json' }),
    ),
  },
  {
    name: 'peer bug 16 (teamclaude#391, litellm#6957): status 200, and the first event says overloaded',
    reason: 'overloaded',
    outcome: 'refused_unbilled',
    play: answering(({ dialect, noise }) =>
      answerOf(
        dialect
          .errorEvent('overloaded_error')
          .replace('"message":"overloaded_error"', `"message":"${noise}"`),
      ),
    ),
  },
  ...(
    [
      ['peer bug 16 (Bifrost#3261): status 429', 429, 'rate_limited', 'refused_unbilled'],
      ['status 503', 503, 'overloaded', 'refused_unbilled'],
      ['status 529', 529, 'overloaded', 'refused_unbilled'],
      ['status 401', 401, 'credential_refused', 'refused_unbilled'],
      ['status 404', 404, 'model_not_found', 'refused_unbilled'],
      ['status 500', 500, 'server_error', 'uncertain'],
      ['a status that nobody knows', 599, 'server_error', 'uncertain'],
    ] as const
  ).map(([name, status, reason, outcome]) => ({
    name,
    reason,
    outcome,
    play: answering(({ dialect, noise }) => {
      const text = dialect.errorBody(noise)
      return (
        headOf(status, { 'content-length': String(Buffer.byteLength(text)), 'x-request-id': noise }) + text
      )
    }),
  })),
  {
    name: 'no answer, ever',
    reason: 'too_late',
    isEndless: true,
    play: ({ wire }) => wire.whenGone(),
  },
  {
    name: 'informational heads without end',
    reason: 'too_late',
    isEndless: true,
    play: ({ wire }) => forEver(() => wire.write('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n')),
  },
  {
    name: 'an error whose body drips without end',
    reason: 'overloaded',
    outcome: 'refused_unbilled',
    isEndless: true,
    play: async ({ wire }) => {
      await wire.write(headOf(503, { 'content-length': '1000000' }))
      await forEver(() => wire.write(' '))
    },
  },
]

const DRIP_MS = 50

/** Says it again and again, until nobody listens. */
async function forEver(say: () => Promise<boolean>, pauseMs = DRIP_MS): Promise<void> {
  while (await say()) await new Promise((resume) => setTimeout(resume, pauseMs))
}

const isStream = ({ streamed }: Combination): boolean => streamed

/** A message that a stream may hold, and that no answer in one piece is. */
function saying(what: (strike: Strike) => string): BodyFault['strike'] {
  return async (strike) => {
    await strike.say(what(strike))
    await strike.endBody()
  }
}

/** An end that HTTP has nothing against is judged by what came before it. */
function reasonOfCleanEnd({ streamed, place, dialect }: Combination): string {
  if (streamed) return dialect === OPENAI && place === 'before' ? 'empty' : 'stream_cut'
  return place === 'before' ? 'empty' : 'malformed'
}

export const BODY_FAULTS: readonly BodyFault[] = [
  {
    name: 'peer bug 13 (litellm#40404): the connection is cut',
    reason: 'connection_cut',
    strike: ({ wire }) => wire.reset(),
  },
  {
    name: 'peer bug 15 (litellm PR#32835): a connection that ends before its body does',
    reason: 'connection_cut',
    strike: ({ wire }) => wire.end(),
  },
  {
    name: 'peer bug 13 (Portkey#1797): a clean end without the terminal event',
    reason: reasonOfCleanEnd,
    strike: ({ endBody }) => endBody(),
  },
  {
    name: 'a cut where the end of the connection may be the end of the answer',
    reason: reasonOfCleanEnd,
    closesConnection: true,
    strike: ({ wire }) => wire.end(),
  },
  {
    name: 'everything but the terminal event',
    reason: 'stream_cut',
    exists: isStream,
    strike: saying(({ dialect }) => dialect.finish(dialect.report())),
  },
  {
    name: 'a terminal event without a word why',
    reason: 'stream_cut',
    exists: isStream,
    strike: saying(({ dialect }) => dialect.terminal),
  },
  {
    name: 'a line that is no JSON',
    reason: 'malformed',
    strike: saying(({ streamed, noise }) =>
      streamed ? `data: {"choices":[{"delta":{"content":"${noise}\n\n` : `{,"${noise}`,
    ),
  },
  {
    name: 'a count that is NaN',
    reason: 'malformed',
    exists: isStream,
    strike: saying(
      ({ dialect }) =>
        dialect.finish(dialect.report({ output: 7 })).replaceAll(/:7\b/g, ':NaN') + dialect.terminal,
    ),
  },
  {
    name: 'peer bug 14 (litellm#38610): an error event after those that only open an answer, or after content',
    reason: 'server_error',
    exists: isStream,
    strike: saying(({ dialect, noise }) => dialect.errorEvent(noise)),
  },
  {
    name: 'chunks without a length',
    reason: 'malformed',
    strike: async ({ wire }) => {
      await wire.write('this is no length\r\n')
      wire.end()
    },
  },
  {
    name: 'a tool call whose arguments are nested 100,000 deep',
    reason: 'malformed',
    exists: isStream,
    strike: saying(({ dialect }) =>
      dialect.toolCall('look', `${'{"0":'.repeat(100_000)}1${'}'.repeat(100_000)}`),
    ),
  },
  {
    name: 'a tool whose name is a megabyte of the prompt',
    reason: 'malformed',
    exists: isStream,
    strike: saying(({ dialect, noise }) => dialect.toolCall(`${noise}\n\u0000${MEGABYTE}`, '{}')),
  },
  {
    name: 'an answer that nobody asked for, beside the one that was',
    reason: 'malformed',
    exists: ({ streamed, dialect }) => streamed && dialect === OPENAI,
    strike: saying(({ dialect }) => dialect.piece('ALPHA').replace('"index":0', '"index":1')),
  },
  {
    name: 'a finish that says that it failed',
    reason: 'server_error',
    exists: ({ streamed, dialect }) => streamed && dialect === OPENAI,
    strike: saying(
      ({ dialect }) => dialect.finish(undefined).replace('"stop"', '"error"') + dialect.terminal,
    ),
  },
  {
    name: 'a line of 64 MB, or a body of 200 MB',
    reason: 'oversized',
    strike: async ({ say, streamed, wire, place }) => {
      if (streamed) await say('data: ')
      else if (place === 'before') await say('{"choices":[{"message":{"content":"')
      for (let sent = 0; sent < (streamed ? 64 : 200); sent++) if (!(await say(MEGABYTE))) return
      wire.end()
    },
  },
  {
    name: 'peer bug 13 (litellm#40404): a stall',
    reason: 'too_late',
    isEndless: true,
    strike: ({ wire }) => wire.whenGone(),
  },
  {
    name: 'comments, one byte at a time, without end',
    reason: 'too_late',
    isEndless: true,
    strike: ({ say, streamed }) => forEver(() => say(streamed ? ':\n' : ' ')),
  },
  {
    name: 'pieces with nothing in them, without end',
    reason: 'too_late',
    isEndless: true,
    exists: isStream,
    strike: ({ say, dialect }) => forEver(() => say(dialect.emptyPiece)),
  },
]

/** Begins a good answer, and lets the fault strike at its place. */
export async function playBody(fault: BodyFault, stage: Stage, place: Place): Promise<void> {
  const { wire, dialect, streamed, noise, seen } = stage
  const { closesConnection = false } = fault
  const say = (text: string): Promise<boolean> => wire.write(closesConnection ? text : chunked(text))
  const endBody = async (): Promise<void> => {
    if (!closesConnection) await wire.write(CHUNKED_END)
    wire.end()
  }
  const head = {
    'content-type': streamed ? 'text/event-stream' : 'application/json',
    'x-request-id': noise,
    ...(closesConnection ? {} : { connection: 'keep-alive', 'transfer-encoding': 'chunked' }),
  }
  await wire.write(headOf(200, head))
  const whole = wholeBody(dialect, { mark: 'ALPHA', streamed, noise })
  if (streamed) await say(dialect.opening(noise))
  if (streamed && place === 'after') {
    for (let piece = 0; piece < PIECES / 2; piece++) await say(dialect.piece('ALPHA '))
    await seen
  } else if (place === 'after') {
    await say(whole.slice(0, whole.length / 2))
  }
  await fault.strike({ ...stage, place, say, endBody })
}
