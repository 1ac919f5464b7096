import type { Catalog, ProtocolName, ProviderId } from '@mesh/catalog/catalog.ts'
import { systemClock } from '@mesh/engine/clock.ts'
import type { Protocol } from '@mesh/engine/protocol.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import type { Engine } from '@mesh/engine/run.ts'
import type { Transport, UpstreamTarget } from '@mesh/engine/transport.ts'
import { isSimulated } from '@mesh/simulator/providers.ts'
import type { Simulator } from '@mesh/simulator/server.ts'
import type { Policy } from './policy.ts'
import type { ProviderMemory } from './providers/provider-memory.ts'
import type { Settings } from './settings.ts'

/** Providers by id that this router has a credential for, or that an operator put on a host of his own. */
export function providersWithCredentials(settings: Settings): ReadonlySet<ProviderId> {
  return new Set([...settings.credentials.keys()])
}

/** Real providers, by the operator's credentials and base URLs. */
export function liveEngine(
  catalog: Catalog,
  settings: Settings,
  transport: Transport,
  providers: Pick<ProviderMemory, 'configOf'>,
): Engine {
  const targets = new Map<ProviderId, (protocol: ProtocolName) => UpstreamTarget>()
  for (const { id, baseUrl } of catalog.providers) {
    const credential = settings.credentials.get(id)
    if (!credential) continue
    targets.set(id, (protocol) => ({
      baseUrl: settings.baseUrls.get(id) ?? baseUrl,
      headers: credentialHeaders(protocol, credential.reveal()),
    }))
  }
  return {
    ...sameInBothWorlds(settings.policy, transport),
    targetFor: ({ provider, protocol }) => targets.get(provider)?.(protocol),
    firstByteTimeoutMsAt: ({ provider }) => providers.configOf(provider).timeoutMs ?? undefined,
  }
}

/** The simulators of the same providers. Any credential will do there, so none of the real ones is sent. */
export function testEngine(simulator: Simulator, policy: Policy, transport: Transport): Engine {
  return {
    ...sameInBothWorlds(policy, transport),
    targetFor({ provider, protocol }) {
      if (!isSimulated(provider)) return undefined
      return { baseUrl: simulator.baseUrl(provider), headers: credentialHeaders(protocol, 'simulated') }
    },
  }
}

function sameInBothWorlds({ calls, holds }: Policy, transport: Transport): Omit<Engine, 'targetFor'> {
  return {
    transport,
    protocolFor: builtProtocol,
    clock: systemClock,
    limits: {
      connectTimeoutMs: calls.connectTimeoutMs,
      firstByteTimeoutMs: calls.firstByteTimeoutMs,
      idleTimeoutMs: calls.idleTimeoutMs,
      outputTimeoutMs: calls.outputTimeoutMs,
      answer: {
        eventCharactersMax: calls.upstreamEventCharactersMax,
        documentBytesMax: calls.upstreamDocumentBytesMax,
      },
      deadlineMs: calls.deadlineMs,
      drainMs: calls.drainMs,
      outputSliceTokens: holds.outputSliceTokens,
    },
  }
}

/** A plan holds only endpoints whose protocol is built. */
function builtProtocol(name: ProtocolName): Protocol {
  const protocol = protocolFor(name)
  if (!protocol) throw new Error(`the protocol ${name} is not built`)
  return protocol
}

/** How each protocol carries a credential. */
function credentialHeaders(protocol: ProtocolName, credential: string): Record<string, string> {
  switch (protocol) {
    case 'anthropic_messages':
      return { 'x-api-key': credential }
    case 'azure_openai':
    case 'azure_openai_embeddings':
      return { 'api-key': credential }
    case 'gemini':
    case 'gemini_embed':
      return { 'x-goog-api-key': credential }
    default:
      return { authorization: `Bearer ${credential}` }
  }
}
