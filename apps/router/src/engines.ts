import type { Catalog, Endpoint, ProtocolName, ProviderId } from '@mesh/catalog/catalog.ts'
import { systemClock } from '@mesh/engine/clock.ts'
import type { Protocol } from '@mesh/engine/protocol.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import type { Engine } from '@mesh/engine/run.ts'
import type { Transport, UpstreamTarget } from '@mesh/engine/transport.ts'
import { isSimulated } from '@mesh/simulator/providers.ts'
import type { Simulator } from '@mesh/simulator/server.ts'
import { modelInRegion } from './aws-settings.ts'
import { awsSigner } from './aws-signature.ts'
import type { Policy } from './policy.ts'
import type { Credential, CredentialPools } from './providers/credential-pools.ts'
import type { ProviderMemory } from './providers/provider-memory.ts'
import type { Settings } from './settings.ts'

/** The one provider whose requests may be signed rather than carry their credential. */
const BEDROCK: ProviderId = 'amazon-bedrock'
/**
 * A bearer is an Entra token there, and a key that comes as one is refused.
 * https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
 */
const AZURE: ProviderId = 'azure'

/** Providers by id that this router has a credential for, or that ask for none. */
export function providersWithCredentials(
  { providers }: Pick<Catalog, 'providers'>,
  { credentials, aws }: Pick<Settings, 'credentials' | 'aws'>,
): ReadonlySet<ProviderId> {
  const askForNone = providers.filter(({ credentialVariable }) => credentialVariable === undefined)
  return new Set([...credentials.keys(), ...(aws.keys ? [BEDROCK] : []), ...askForNone.map(({ id }) => id)])
}

/** What the live engine reaches its providers with. */
export interface LiveEngineInput {
  readonly catalog: Catalog
  readonly settings: Settings
  readonly transport: Transport
  readonly providers: Pick<ProviderMemory, 'configOf'>
  readonly pools: CredentialPools
}

/** Real providers, by the operator's credentials and base URLs. */
export function liveEngine({ catalog, settings, transport, providers, pools }: LiveEngineInput): Engine {
  const targets = new Map<ProviderId, TargetOf>()
  for (const { id, baseUrl: vendorsOwn, credentialVariable } of catalog.providers) {
    const credentials = settings.credentials.get(id)
    const baseUrl = settings.baseUrls.get(id) ?? vendorsOwn
    const asked = credentials && credentialTarget(credentials, baseUrl, pools)
    const target =
      id === BEDROCK
        ? bedrockTarget(settings, asked, baseUrl)
        : (asked ?? (credentialVariable === undefined ? () => ({ baseUrl, headers: {} }) : undefined))
    if (target) targets.set(id, target)
  }
  return {
    ...sameInBothWorlds(settings.policy, transport),
    targetFor: (endpoint, spreadKey = '') => targets.get(endpoint.provider)?.(endpoint, spreadKey),
    firstByteTimeoutMsAt: ({ provider }) => providers.configOf(provider).timeoutMs ?? undefined,
  }
}

type TargetOf = (endpoint: Endpoint, spreadKey: string) => UpstreamTarget | undefined

/** One of a provider's credentials, in the way in which its protocol carries it. */
function credentialTarget(
  credentials: readonly Credential[],
  baseUrl: string,
  pools: CredentialPools,
): TargetOf {
  return (endpoint, spreadKey) => {
    const chosen = pools.choose(credentials, endpoint, spreadKey)
    return (
      chosen && {
        baseUrl,
        headers: credentialHeaders(endpoint, chosen.secret.reveal()),
        setAside: chosen.setAside,
      }
    )
  }
}

/** Bedrock in the operator's region, with a bearer token or with signed requests; `undefined` with neither. */
function bedrockTarget(
  { aws: { region, keys } }: Settings,
  withToken: TargetOf | undefined,
  baseUrl: string,
): TargetOf | undefined {
  const sign = keys && region !== undefined ? awsSigner(keys, region, Date.now) : undefined
  const signed: TargetOf | undefined = sign && (() => ({ baseUrl, headers: {}, sign }))
  const reached = withToken ?? signed
  return (
    reached &&
    ((endpoint, spreadKey) => {
      const target = reached(endpoint, spreadKey)
      if (!target || region === undefined) return target
      return { ...target, upstreamModel: modelInRegion(endpoint.upstreamModel, region) }
    })
  )
}

/** The simulators of the same providers. Any credential will do there, so none of the real ones is sent. */
export function testEngine(simulator: Simulator, policy: Policy, transport: Transport): Engine {
  return {
    ...sameInBothWorlds(policy, transport),
    targetFor(endpoint) {
      const { provider } = endpoint
      if (!isSimulated(provider)) return undefined
      return { baseUrl: simulator.baseUrl(provider), headers: credentialHeaders(endpoint, 'simulated') }
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

/** How an endpoint is shown a credential: as its protocol has it, but at Azure, which wants its keys its own way in all of them. */
function credentialHeaders(
  { protocol, provider }: Pick<Endpoint, 'protocol' | 'provider'>,
  credential: string,
): Record<string, string> {
  switch (protocol) {
    case 'anthropic_messages':
      return { 'x-api-key': credential }
    case 'gemini':
    case 'gemini_embed':
      return { 'x-goog-api-key': credential }
    default:
      return provider === AZURE ? { 'api-key': credential } : { authorization: `Bearer ${credential}` }
  }
}
