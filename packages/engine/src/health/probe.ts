import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask } from '../ask.ts'
import { UpstreamAttempt } from '../attempt.ts'
import type { Engine } from '../run.ts'
import { reportOfFailure } from './attempt-report.ts'
import type { AttemptReport } from './gate.ts'

/** The least that a model can be asked. It is MESH's own text, so nothing of a caller's is in it. */
const QUESTION: Ask = {
  messages: [{ role: 'user', parts: [{ type: 'text', text: 'Reply with OK.' }] }],
  tools: [],
  stop: [],
  choices: 1,
  extras: {},
  stream: false,
  usageChunk: false,
}
/** Enough for models that think before they say anything. */
const OUTPUT_TOKENS_MAX = 512
/** Who has not answered this by then is not well. */
const DEADLINE_MS = 30_000

/**
 * Asks an endpoint something of MESH's own, to learn whether it fails for everybody or for one caller alone. The
 * operator pays the provider for it. Resolves to `undefined` where the endpoint has no credential, or where the
 * answer says nothing of its health.
 */
export async function probe(engine: Engine, endpoint: Endpoint): Promise<AttemptReport | undefined> {
  const target = engine.targetFor(endpoint)
  if (!target) return undefined
  const protocol = engine.protocolFor(endpoint.protocol)
  const { droppedParameters: _, ...encoded } = protocol.encode(QUESTION, endpoint, {
    stream: false,
    outputTokensCap: Math.min(OUTPUT_TOKENS_MAX, endpoint.outputTokensMax),
  })
  const attempt = new UpstreamAttempt({
    transport: engine.transport,
    request: { target, ...encoded },
    protocol,
    stream: false,
    clock: engine.clock,
    limits: engine.limits,
    deadlineAtMs: engine.clock.monotonic() + DEADLINE_MS,
  })
  try {
    for (;;) {
      const step = await attempt.next()
      if (step.type === 'events') continue
      return step.end.type === 'failed' ? reportOfFailure(step.end.failure) : { verdict: 'healthy' }
    }
  } finally {
    attempt.stop()
  }
}
