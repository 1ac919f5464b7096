import { deflateSync, gzipSync } from 'node:zlib'
import type { ErrorCode } from '../../src/errors.ts'
import type { WireOptions } from './wire.ts'

/** Stands wherever a caller's own text can stand. No answer and no log may repeat it. */
export const CANARY = 'HOSTILE7f3a'

/** A route with a body, and what it takes. */
export interface Target {
  readonly path: string
  readonly key: string
  /** A body that it answers with `okStatus`. */
  readonly good: Readonly<Record<string, unknown>>
  readonly okStatus: number
  readonly bodyBytesMax: number
}

/** What somebody sends who means no good, and what he must be answered. */
export interface HostileCase {
  readonly name: string
  readonly parts: readonly (string | Uint8Array)[]
  readonly options?: WireOptions
  /** An error's code; `ok` where nothing is wrong with it, `closed` where there is nobody to answer. */
  readonly answer: ErrorCode | 'ok' | 'closed'
  /** Some answers have no body: those to HEAD. */
  readonly isBodiless?: true
}

/** A request's head, which asks for the connection to be closed so that its end can be waited for. */
export function head(
  target: Target,
  lines: readonly string[],
  requestLine = `POST ${target.path} HTTP/1.1`,
): string {
  const own = [`Host: mesh`, `Authorization: Bearer ${target.key}`, 'Connection: close']
  return `${[requestLine, ...own, ...lines].join('\r\n')}\r\n\r\n`
}

const JSON_TYPE = 'Content-Type: application/json'

/** A whole request with a body of known length. */
export function withBody(
  target: Target,
  body: string | Uint8Array,
  lines: readonly string[] = [JSON_TYPE],
): Uint8Array[] {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  return [Buffer.from(head(target, [...lines, `Content-Length: ${bytes.length}`]), 'latin1'), bytes]
}

/** How the bytes of a request can be framed so that two readers would see two requests. */
export function framingCases(target: Target): HostileCase[] {
  const body = JSON.stringify(target.good)
  const chunk = `${body.length.toString(16)}\r\n${body}\r\n`
  const framed = (name: string, lines: string[], rest: string, answer: HostileCase['answer']) => ({
    name,
    parts: [head(target, [JSON_TYPE, ...lines]), rest],
    answer,
  })
  const chunked = (name: string, rest: string, answer: HostileCase['answer'] = 'invalid_request') =>
    framed(name, ['Transfer-Encoding: chunked'], rest, answer)
  const length = `Content-Length: ${body.length}`
  const line = (name: string, text: string, answer: HostileCase['answer'] = 'invalid_request') =>
    framed(name, [text, length], body, answer)
  return [
    framed(
      'a length and chunks',
      ['Transfer-Encoding: chunked', length],
      `${chunk}0\r\n\r\n`,
      'invalid_request',
    ),
    framed(
      'chunks and a length',
      [length, 'Transfer-Encoding: chunked'],
      `${chunk}0\r\n\r\n`,
      'invalid_request',
    ),
    line('two lengths', `Content-Length: ${body.length + 1}`),
    line('the same length twice', length),
    ...['-1', '+2', '0x2', '2, 2', '2.0', 'two', '9'.repeat(30)].map((text) =>
      framed(`a length of ${text.slice(0, 10)}`, [`Content-Length: ${text}`], body, 'invalid_request'),
    ),
    framed('an unknown coding', ['Transfer-Encoding: gzip'], body, 'invalid_request'),
    framed('a word like chunked', ['Transfer-Encoding: xchunked'], chunk, 'invalid_request'),
    framed(
      'a coding on top',
      ['Transfer-Encoding: gzip, chunked'],
      `${chunk}0\r\n\r\n`,
      'unsupported_media_type',
    ),
    framed(
      'chunked twice',
      ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
      `${chunk}0\r\n\r\n`,
      'invalid_request',
    ),
    framed(
      'a space before the colon',
      ['Transfer-Encoding : chunked'],
      `${chunk}0\r\n\r\n`,
      'invalid_request',
    ),
    {
      name: 'chunks in HTTP/1.0',
      parts: [
        head(target, [JSON_TYPE, 'Transfer-Encoding: chunked'], `POST ${target.path} HTTP/1.0`),
        `${chunk}0\r\n\r\n`,
      ],
      answer: 'invalid_request',
    },
    chunked('chunks as they should be', `${chunk}0\r\n\r\n`, 'ok'),
    chunked('a chunk of no size', 'zz\r\n{}\r\n0\r\n\r\n'),
    chunked('a chunk of a negative size', '-2\r\n{}\r\n0\r\n\r\n'),
    chunked('a chunk of a size beyond counting', `${'f'.repeat(20)}\r\n{}\r\n0\r\n\r\n`),
    chunked('a chunk without its end', `2\r\n{}X0\r\n\r\n`),
    chunked(
      'megabytes of chunk extensions',
      `2;a=${'x'.repeat(1_000_000)}\r\n{}\r\n0\r\n\r\n`,
      'payload_too_large',
    ),
    chunked('megabytes of trailers', `${chunk}0\r\na: ${'x'.repeat(1_000_000)}\r\n\r\n`, 'headers_too_large'),
    line('a folded header', `X-Folded: ${CANARY}\r\n ${CANARY}`),
    line('NUL in a header', `X-Nul: a\0${CANARY}`),
    line('a control character in a header', `X-Control: a\x01\x7f${CANARY}`),
    line('a bare CR in a header', `X-Return: a\rX-Injected: ${CANARY}`),
    line('a header without a name', `: ${CANARY}`),
    line('a header without a colon', CANARY),
    {
      name: 'lines without CR',
      parts: [head(target, [length]).replaceAll('\r\n', '\n'), body],
      answer: 'invalid_request',
    },
    line('two hosts', `Host: ${CANARY}`),
    line('two keys', `Authorization: Bearer ${CANARY}`),
    line('two types', 'Content-Type: text/plain'),
    line('two idempotency keys', 'Idempotency-Key: a\r\nIdempotency-Key: b'),
    line('a megabyte in one header', `X-Long: ${CANARY.repeat(100_000)}`, 'headers_too_large'),
    line(
      'ten thousand headers',
      Array.from({ length: 10_000 }, (_, at) => `X-${at}: ${CANARY}`).join('\r\n'),
      'headers_too_large',
    ),
    line('an expectation that nobody can meet', `Expect: ${CANARY}`, 'ok'),
    line('an expectation that can be met', 'Expect: 100-continue', 'ok'),
    line('an upgrade', 'Upgrade: websocket\r\nSec-WebSocket-Version: 13', 'ok'),
    line('a request id of their own', `X-Request-Id: ${CANARY}`, 'ok'),
    {
      name: 'a body that is cut off, and a goodbye',
      parts: [head(target, [JSON_TYPE, 'Content-Length: 100']), `{"${CANARY}":`],
      options: { hangUp: true },
      answer: 'invalid_request',
    },
    {
      name: 'chunks that are cut off, and a goodbye',
      parts: [head(target, [JSON_TYPE, 'Transfer-Encoding: chunked']), `5\r\n{"${CANARY}`],
      options: { hangUp: true },
      answer: 'invalid_request',
    },
  ]
}

/** Bodies that are no JSON, or not in a form that is taken. */
export function encodingCases(target: Target): HostileCase[] {
  const text = JSON.stringify({ ...target.good, [CANARY]: CANARY })
  const good = JSON.stringify(target.good).slice(1)
  const tooLarge = target.bodyBytesMax + 1
  const sent = (
    name: string,
    body: string | Uint8Array,
    answer: HostileCase['answer'] = 'invalid_request',
    ...lines: string[]
  ) => ({
    name,
    parts: withBody(target, body, lines.length > 0 ? lines : [JSON_TYPE]),
    answer,
  })
  const spaces = Buffer.alloc(tooLarge, ' ')
  return [
    sent('too large by its length', spaces, 'payload_too_large'),
    {
      name: 'too large by its chunks',
      parts: [
        head(target, [JSON_TYPE, 'Transfer-Encoding: chunked']),
        `${tooLarge.toString(16)}\r\n`,
        spaces,
        '\r\n0\r\n\r\n',
      ],
      answer: 'payload_too_large',
    },
    sent('nothing', ''),
    // Short enough to be quoted whole by V8's own message.
    sent('a bare word', CANARY),
    sent('cut off', text.slice(0, -2)),
    sent('two of them', `${text}${text}`),
    sent('no object', `"${CANARY}"`),
    sent('a list', `["${CANARY}"]`),
    sent('null', 'null'),
    sent('words', CANARY),
    sent('a byte order mark', `\ufeff${text}`),
    sent('UTF-16', Buffer.from(text, 'utf16le')),
    sent(
      'half a character',
      Buffer.concat([Buffer.from(text.slice(0, -2)), Buffer.from([0xe2, 0x82]), Buffer.from('"}')]),
    ),
    sent('an overlong slash', Buffer.from('{"a":"\xc0\xaf"}', 'latin1')),
    sent('a surrogate in UTF-8', Buffer.from('{"a":"\xed\xa0\x80"}', 'latin1')),
    sent('a raw line break in a text', `{"a":"${CANARY}\n"}`),
    sent('a name twice, of which the last counts', `{"${Object.keys(target.good)[0]}":7,${good}`, 'ok'),
    sent('compressed', gzipSync(text), 'unsupported_media_type', JSON_TYPE, 'Content-Encoding: gzip'),
    sent('compressed, and not said so', gzipSync(text)),
    sent(
      'a bomb',
      gzipSync(Buffer.alloc(10_000_000)),
      'unsupported_media_type',
      JSON_TYPE,
      'Content-Encoding: gzip',
    ),
    sent('deflated', deflateSync(text), 'unsupported_media_type', JSON_TYPE, 'Content-Encoding: deflate'),
    sent('of no type', text, 'unsupported_media_type', 'X-Nothing: here'),
    sent('of another type', text, 'unsupported_media_type', 'Content-Type: text/plain'),
    sent('of a type that is none', text, 'unsupported_media_type', `Content-Type: ${CANARY}`),
    sent(
      'in another charset',
      text,
      'unsupported_media_type',
      'Content-Type: application/json; charset=utf-16',
    ),
    sent(
      'a form',
      `a=${CANARY}`,
      'unsupported_media_type',
      'Content-Type: application/x-www-form-urlencoded',
    ),
  ]
}

/** JSON whose form alone is the weapon. */
export function shapeCases(target: Target): HostileCase[] {
  const good = JSON.stringify(target.good).slice(1, -1)
  const isCall = 'messages' in target.good || 'input' in target.good
  const with_ = (member: string) => `{${good},${member}}`
  const sent = (
    name: string,
    body: string,
    answer: HostileCase['answer'] = 'invalid_request',
  ): HostileCase => ({
    name,
    parts: withBody(target, body),
    answer: Buffer.byteLength(body) > target.bodyBytesMax ? 'payload_too_large' : answer,
  })
  const deep = (levels: number, open: string, close: string) =>
    `${open.repeat(levels)}1${close.repeat(levels)}`
  return [
    sent('lists 1,000 deep', with_(`"${CANARY}":${deep(1_000, '[', ']')}`)),
    sent('lists 100,000 deep', with_(`"${CANARY}":${deep(100_000, '[', ']')}`)),
    sent('objects 100,000 deep', with_(`"${CANARY}":${deep(100_000, '{"a":', '}')}`)),
    sent('millions of open lists', '['.repeat(10_000_000)),
    sent('lists in a name', with_(`"name":${deep(100_000, '[', ']')}`)),
    sent('a million members', with_(`"${CANARY}":[${'1,'.repeat(1_000_000)}1]`)),
    sent('a million names', with_(Array.from({ length: 500_000 }, (_, at) => `"k${at}":1`).join(','))),
    sent(
      '100,000 messages',
      JSON.stringify({ ...target.good, messages: Array(100_000).fill({ role: 'user', content: CANARY }) }),
    ),
    sent(
      'ten megabytes of text',
      with_(`"messages":[{"role":"user","content":"${'a'.repeat(10_000_000)}"}]`),
      'context_length_exceeded',
    ),
    sent('ten megabytes of name', with_(`"model":"${'a'.repeat(10_000_000)}"`)),
    sent('a million quotes', with_(`"${CANARY}":["${'\\"'.repeat(450_000)}","${'\\\\'.repeat(100)}",]`)),
    ...['__proto__', '\\u005f_proto__', '_\\u005Fpr\\u006Fto__'].flatMap((name) => [
      sent(`the name ${name}`, with_(`"${name}":{"${CANARY}":true}`)),
      sent(`the name ${name}, deeper`, with_(`"metadata":{"a":{"${name}" : {"${CANARY}":true}}}`)),
      sent(`the name ${name}, in a list`, with_(`"limits":[{"${name}"\n:null}]`)),
    ]),
    ...['constructor', 'toString', 'hasOwnProperty', 'then', 'toJSON'].map((name) =>
      // A call drops what it does not know, and says so; everything else refuses it.
      sent(
        `the name ${name}`,
        with_(`"${name}":{"prototype":{"${CANARY}":true}}`),
        isCall ? 'ok' : 'invalid_request',
      ),
    ),
  ]
}
