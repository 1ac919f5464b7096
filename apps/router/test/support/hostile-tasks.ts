import { CANARY, type HostileCase, type Target, withBody } from './hostile-cases.ts'

/** What hurts routes that take texts by the list: for vectors, for a ranking, to be counted. */

/** Everything but the model, replaced where a case names it. */
type Body = Readonly<Record<string, unknown>>

function sent(
  target: Target,
  name: string,
  body: Body | string,
  answer: HostileCase['answer'] = 'invalid_request',
): HostileCase {
  const text = typeof body === 'string' ? body : JSON.stringify({ ...target.good, ...body })
  return {
    name: `${target.path}: ${name}`,
    parts: withBody(target, text),
    answer: Buffer.byteLength(text) > target.bodyBytesMax ? 'payload_too_large' : answer,
  }
}

/** Whatever list of texts a route takes, under its own name. */
function listCases(target: Target, member: string): HostileCase[] {
  const list = (name: string, value: unknown, answer?: HostileCase['answer']) =>
    sent(target, name, { [member]: value }, answer)
  return [
    list('a million texts', Array(1_000_000).fill('a')),
    list('twenty thousand texts', Array(20_000).fill(CANARY)),
    list('a text among a thousand that is none', [...Array(1_000).fill(CANARY), { [CANARY]: CANARY }]),
    list('lists in lists', [[[[CANARY]]]]),
    list('half pairs', [`${CANARY}\ud800`, `\udc00${CANARY}`], 'ok'),
    list('an object with a length', { length: 4_294_967_295, [CANARY]: CANARY }),
    sent(
      target,
      'its own prototype',
      `${JSON.stringify(target.good).slice(0, -1)},"__proto__":{"${CANARY}":1}}`,
    ),
    sent(target, 'a model without an end', { model: `${CANARY}${'a'.repeat(100_000)}` }),
    sent(target, 'nothing', '{}'),
  ]
}

/** For `/v1/embeddings`. */
export function embeddingCases(target: Target): HostileCase[] {
  return [
    ...listCases(target, 'input'),
    sent(target, 'a list of a million tokens', { input: Array(1_000_000).fill(1) }),
    sent(target, 'tokens in two thousand lists', { input: Array(2_000).fill(Array(200).fill(1)) }),
    sent(target, 'tokens that are none', { input: [[1, 2], [CANARY]] }),
    sent(target, 'a token below zero', { input: [-1] }),
    ...['1e400', '-1', '0.5', '9007199254740993', `"${CANARY}"`].map((number) =>
      sent(
        target,
        `dimensions ${number}`,
        `${JSON.stringify({ ...target.good, dimensions: 0 }).replace('"dimensions":0', `"dimensions":${number}`)}`,
      ),
    ),
    sent(target, 'a text that no context holds', { input: 'a'.repeat(1_200_000) }, 'context_length_exceeded'),
  ]
}

/** For `/v1/rerank`. */
export function rerankCases(target: Target): HostileCase[] {
  return [
    ...listCases(target, 'documents'),
    sent(target, 'a query without an end', { query: 'a'.repeat(1_000_000) }),
    sent(target, 'a query that is a list', { query: [CANARY] }),
    sent(target, 'fewer results than none', { top_n: -1 }),
  ]
}

/** For `/v1/tokens/count`: what takes a tokenizer for ever is counted like all else. */
export function countCases(target: Target): HostileCase[] {
  const count = (name: string, text: string) => sent(target, name, { input: text }, 'ok')
  return [
    ...listCases(target, 'input'),
    count('a word of a megabyte', 'a'.repeat(1_000_000)),
    count('a megabyte of white space', ' '.repeat(1_000_000)),
    count('a megabyte of ideographs', '漢字仮名交じり文'.repeat(50_000)),
    count('a megabyte of marks', '\u0301'.repeat(500_000)),
    count('words that steer a model', `<|endoftext|><|im_start|>${CANARY}`),
    sent(target, 'a message that is none', { input: undefined, messages: [{ role: CANARY }] }),
  ]
}
