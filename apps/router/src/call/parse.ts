import type { Target } from '@mesh/catalog/target.ts'
import type { RequestFault } from '@mesh/engine/shapes/fault.ts'
import type { CallerRequest, ParsedRequest, Shape } from '@mesh/engine/shapes/shape.ts'
import { parseSteering } from '@mesh/simulator/steering.ts'
import type { Caller } from '../accounts/caller.ts'
import { MeshError } from '../errors.ts'
import type { CallRequest } from './call-request.ts'
import type { Mesh } from './mesh.ts'

/** A call as it was asked for, read and resolved. */
export interface Asked {
  /** The name of the shape in which it came. */
  readonly api: string
  readonly request: CallerRequest
  /** The models, modes and tiers that were named, the first choice first. */
  readonly targets: readonly Target[]
  /** What a test call tells its simulator to do. */
  readonly steering?: string
  readonly idempotency?: { readonly keyHmac: Buffer; readonly bodyHmac: Buffer }
}

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/
const NEAREST_MODELS = 3

/**
 * Reads a call's body into what was asked.
 * @throws MeshError with the field at fault; nothing of the body is in its message.
 */
export async function parse(
  request: Pick<CallRequest, 'shape' | 'readBody' | 'idempotencyKey'>,
  caller: Caller,
  mesh: Mesh,
): Promise<Asked> {
  const body = await request.readBody()
  const accountId = caller.account.id
  const read = requireRequest(
    request.shape.parse(body, {
      pseudonym: (purpose, text) => mesh.pseudonyms.outward(accountId, purpose, text),
    }),
  )
  const targets = read.route.models.map((name) => resolveTarget(name, request.shape, mesh))
  const steering = caller.livemode ? undefined : steeringOf(read.metadata)
  const key = request.idempotencyKey
  return {
    api: request.shape.name,
    request: {
      ...read,
      ask: { ...read.ask, accountKey: mesh.pseudonyms.ofAccount(accountId) },
    },
    targets,
    ...(steering === undefined ? {} : { steering }),
    ...(key === undefined
      ? {}
      : {
          idempotency: {
            keyHmac: mesh.pseudonyms.remembered(accountId, 'key', idempotencyKey(key)),
            bodyHmac: mesh.pseudonyms.remembered(accountId, 'body', JSON.stringify(body)),
          },
        }),
  }
}

/** @throws MeshError with the fault, where a body could not be read. */
export function requireRequest(parsed: ParsedRequest): CallerRequest {
  if (parsed.ok) return parsed.request
  throw requestError(parsed)
}

/** The error of a body that could not be read. */
export function requestError({ code, message, param }: RequestFault): MeshError {
  return new MeshError(code, message, param ? { param } : {})
}

/** @throws MeshError `model_not_found`, or `invalid_request` for a model of another kind. */
export function resolveTarget(name: string, { modelKind }: Shape, mesh: Mesh): Target {
  const target = mesh.models.resolveTarget(name)
  if (!target) throw noSuchModel(name, mesh)
  if (target.kind === modelKind) return target
  throw new MeshError(
    'invalid_request',
    `${target.id} is for ${target.kind} calls: this route takes ${modelKind} models.`,
    {
      param: 'model',
    },
  )
}

/** The error of a name that nothing has, with those that come nearest. */
export function noSuchModel(name: string, { models }: Pick<Mesh, 'models'>): MeshError {
  const nearest = models.nearest(name, NEAREST_MODELS)
  return new MeshError(
    'model_not_found',
    `There is no such model. The nearest are ${nearest.join(', ')}; GET /v1/models lists all.`,
    { param: 'model', metadata: { nearest } },
  )
}

/** Checked here, so that whoever writes a test learns at once which words there are. */
function steeringOf(metadata: Readonly<Record<string, string>>): string | undefined {
  const text = metadata.mesh_simulate
  if (text === undefined) return undefined
  const steering = parseSteering(text, 'openai')
  if (steering.ok) return text
  throw new MeshError('invalid_request', steering.message, { param: 'metadata' })
}

function idempotencyKey(key: string): string {
  if (IDEMPOTENCY_KEY.test(key)) return key
  throw new MeshError(
    'invalid_request',
    'Idempotency-Key must be 1 to 255 printable ASCII characters without spaces.',
  )
}
