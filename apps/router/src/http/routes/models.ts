import type { Model } from '@mesh/catalog/catalog.ts'
import { z } from 'zod'
import type { Mesh } from '../../call/mesh.ts'
import { MeshError } from '../../errors.ts'
import { endpointView, type ModelViewContext, modelView } from '../../records/model-view.ts'
import type { Server } from '../server.ts'

type ModelRoutesNeed = Pick<Mesh, 'catalog' | 'models' | 'terms'>

const ENDPOINTS = '/endpoints'

/** The catalogue. It is public: no key is needed to see what there is and what it costs. */
export function registerModelRoutes(server: Server, meshNow: { readonly current: ModelRoutesNeed }): void {
  server.get('/v1/models', async () => {
    const mesh = meshNow.current
    return { object: 'list', data: mesh.catalog.models.map((model) => modelView(model, contextOf(mesh))) }
  })

  // Ids hold a slash, and come encoded or not: the rest of the path is the id, but for a last part of our own.
  server.get('/v1/models/*', { schema: { params: z.object({ '*': z.string() }) } }, async (request) => {
    const mesh = meshNow.current
    const context = contextOf(mesh)
    const path = request.params['*']
    if (path.endsWith(ENDPOINTS)) {
      const model = findModel(mesh, path.slice(0, -ENDPOINTS.length))
      return {
        object: 'list',
        id: model.id,
        data: model.endpoints.map((endpoint) => endpointView(endpoint, context)),
      }
    }
    return modelView(findModel(mesh, path), context)
  })
}

/** What everybody is asked for, who has no terms of his own. */
function contextOf({ terms }: ModelRoutesNeed): ModelViewContext {
  const { prices, snapshot } = terms.standard
  return { prices, protocolBuilt: snapshot.protocolBuilt }
}

function findModel(mesh: ModelRoutesNeed, name: string): Model {
  const model = mesh.models.resolve(name)
  if (model) return model
  const nearest = mesh.models.nearest(name, 3)
  throw new MeshError('model_not_found', `There is no such model. The nearest are ${nearest.join(', ')}.`, {
    param: 'model',
    metadata: { nearest },
  })
}
