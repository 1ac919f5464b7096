import { isProviderId, type ProviderId } from './providers.ts'

/**
 * The faults that a tester can ask for. Some answer instead of the model, the others strike an answer on its way.
 * A fault on the way takes an optional place in output tokens (`cut_stream=40`); without one it strikes half way.
 */
export type Fault =
  | { readonly kind: 'rate_limit' | 'overloaded' | 'server_error' | 'timeout' | 'html' | 'redirect' }
  | { readonly kind: 'refusal' | 'content_filter' | 'empty' | 'error_first' }
  | { readonly kind: StrikingKind; readonly afterTokens?: number }

type StrikingKind = (typeof STRIKING_KINDS)[number]
const STRIKING_KINDS = [
  'cut_stream',
  'stall',
  'malformed',
  'early_eof',
  'error_mid',
  'endless',
  'drip',
  'oversized',
] as const

export type FaultKind = Fault['kind']

const LIES = ['negative', 'huge', 'missing', 'zero', 'inflated', 'deflated'] as const
export type LyingUsage = (typeof LIES)[number]

export interface Steering {
  readonly fault?: Fault
  /** The answer is exactly this many output tokens long, reasoning included. */
  readonly tokens?: number
  /** The answer is the last user text, word for word. */
  readonly echo: boolean
  /** The pause before every piece of an answer. */
  readonly paceMs: number
  readonly lyingUsage?: LyingUsage
  /** Waits for `release()`: before answering (0), or once so many output tokens are out. */
  readonly holdAfterTokens?: number
}

export type ParsedSteering =
  | { readonly ok: true; readonly steering: Steering }
  | { readonly ok: false; readonly message: string }

const slowPaceMs = 200
const tokensMax = 200_000
const paceMsMax = 60_000

type Draft = { -readonly [Key in keyof Steering]: Steering[Key] }
type Word = (draft: Draft, value: string | undefined) => boolean

function answering(kind: Exclude<FaultKind, StrikingKind>): Word {
  return (draft, value) => {
    if (value !== undefined) return false
    draft.fault = { kind }
    return true
  }
}

function striking(kind: StrikingKind): Word {
  return (draft, value) => {
    if (value === undefined) {
      draft.fault = { kind }
      return true
    }
    const afterTokens = wholeNumber(value, tokensMax)
    if (afterTokens === undefined) return false
    draft.fault = { kind, afterTokens }
    return true
  }
}

/** Every word of the steering language. The names in api.md are the public ones; the rest serve our own tests. */
const words: Readonly<Record<string, Word>> = {
  rate_limit: answering('rate_limit'),
  overloaded: answering('overloaded'),
  server_error: answering('server_error'),
  timeout: answering('timeout'),
  html: answering('html'),
  redirect: answering('redirect'),
  refusal: answering('refusal'),
  content_filter: answering('content_filter'),
  empty: answering('empty'),
  error_first: answering('error_first'),
  ...Object.fromEntries(STRIKING_KINDS.map((kind) => [kind, striking(kind)])),
  slow: (draft, value) => {
    draft.paceMs = slowPaceMs
    return value === undefined
  },
  pace: (draft, value) => {
    const paceMs = value === undefined ? undefined : wholeNumber(value, paceMsMax)
    draft.paceMs = paceMs ?? 0
    return paceMs !== undefined
  },
  echo: (draft, value) => {
    draft.echo = true
    return value === undefined
  },
  tokens: (draft, value) => {
    const tokens = value === undefined ? undefined : wholeNumber(value, tokensMax)
    if (tokens === undefined || tokens === 0) return false
    draft.tokens = tokens
    return true
  },
  hold: (draft, value) => {
    const afterTokens = value === undefined ? 0 : wholeNumber(value, tokensMax)
    if (afterTokens === undefined) return false
    draft.holdAfterTokens = afterTokens
    return true
  },
  lying_usage: (draft, value) => {
    const lie = LIES.find((known) => known === value)
    if (lie !== undefined) draft.lyingUsage = lie
    return lie !== undefined
  },
}

/** Whether a fault strikes an answer on its way. */
export function isStriking(fault: Fault | undefined): fault is Extract<Fault, { kind: StrikingKind }> {
  return STRIKING_KINDS.some((kind) => kind === fault?.kind)
}

export const steeringWords: readonly string[] = Object.keys(words)

function wholeNumber(text: string, max: number): number | undefined {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  return value <= max ? value : undefined
}

function apply(draft: Draft, word: string): boolean {
  const equals = word.indexOf('=')
  const name = equals < 0 ? word : word.slice(0, equals)
  if (!Object.hasOwn(words, name)) return false
  return words[name]?.(draft, equals < 0 ? undefined : word.slice(equals + 1)) ?? false
}

/** Steering travels in a header, which carries nothing else. */
const PRINTABLE_ASCII = /^[\x20-\x7e]*$/

/**
 * Reads a steering text as `provider` is to understand it, as in `slow,anthropic=overloaded,tokens=200`. Bare words are
 * for every provider, `provider=word` for one, and what is said to one provider outweighs what is said to all.
 * A word that nobody knows is refused wherever it stands, and so is a text with anything but printable ASCII, with a
 * message that names the known words and repeats nothing of the text.
 */
export function parseSteering(text: string, provider: ProviderId): ParsedSteering {
  const draft: Draft = { echo: false, paceMs: 0 }
  const ownWords: string[] = []
  let unknown = !PRINTABLE_ASCII.test(text)
  for (const item of text.split(',').map((part) => part.trim())) {
    if (item === '') continue
    const equals = item.indexOf('=')
    const qualifier = equals < 0 ? '' : item.slice(0, equals)
    if (!isProviderId(qualifier)) unknown = !apply(draft, item) || unknown
    else if (qualifier === provider) ownWords.push(item.slice(equals + 1))
    else unknown = !apply({ echo: false, paceMs: 0 }, item.slice(equals + 1)) || unknown
  }
  for (const word of ownWords) unknown = !apply(draft, word) || unknown
  if (!unknown) return { ok: true, steering: draft }
  return {
    ok: false,
    message: `The simulator knows these words, alone, with a value, or after "provider=": ${steeringWords.join(', ')}.`,
  }
}
