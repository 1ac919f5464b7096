/**
 * Loaded into a router's process by `NODE_OPTIONS`: on SIGUSR2 it fails as code does that nobody foresaw, with what
 * CRASH_PROBE_TEXT holds in its hands.
 */
const text = process.env.CRASH_PROBE_TEXT ?? ''

/** As code does that quotes what it cannot do anything with. */
function fail(): never {
  throw new TypeError(`cannot take ${text}`)
}

const WAYS: Readonly<Record<string, () => unknown>> = {
  'an exception': fail,
  'a rejection': async () => fail(),
  'memory that runs out': () => {
    const all: string[] = []
    for (;;) all.push(`${text} ${all.length}`)
  },
}

process.on('SIGUSR2', () => void WAYS[process.env.CRASH_PROBE_WAY ?? '']?.())
