import type { Catalog } from '@mesh/catalog/catalog.ts'
import { z } from 'zod'
import type { Mesh } from '../../call/mesh.ts'
import { MeshError } from '../../errors.ts'
import { type Alias, aliasesIn, aliasId, aliasView, modelsOf } from '../../records/alias-view.ts'
import { endpointView, type ModelViewContext, modelView } from '../../records/model-view.ts'
import type { Server } from '../server.ts'

type ModelRoutesNeed = Pick<Mesh, 'catalog' | 'models' | 'terms'>

const ENDPOINTS = '/endpoints'

/** The catalogue. It is public: no key is needed to see what there is and what it costs. */
export function registerModelRoutes(server: Server, meshNow: { readonly current: ModelRoutesNeed }): void {
  server.get('/v1/models', async () => {
    const mesh = meshNow.current
    const context = contextOf(mesh)
    return {
      object: 'list',
      data: [
        ...mesh.catalog.models.map((model) => modelView(model, context)),
        ...aliasesIn(mesh.catalog).map((alias) => showAlias(alias, mesh.catalog, context)),
      ],
    }
  })

  // Ids hold a slash, and come encoded or not: the rest of the path is the id, but for a last part of our own.
  server.get('/v1/models/*', { schema: { params: z.object({ '*': z.string() }) } }, async (request) => {
    const { catalog, models, ...mesh } = meshNow.current
    const context = contextOf(mesh)
    const path = request.params['*']
    const asksEndpoints = path.endsWith(ENDPOINTS)
    const name = asksEndpoints ? path.slice(0, -ENDPOINTS.length) : path
    const target = models.resolveTarget(name)
    if (!target) throw notFound(models.nearest(name, 3))
    const alias = aliasesIn(catalog).find((each) => aliasId(each) === target.id)
    const model = models.resolve(name)
    if (asksEndpoints) {
      const endpoints = (alias ? modelsOf(alias, catalog) : model ? [model] : []).flatMap(
        (each) => each.endpoints,
      )
      return {
        object: 'list',
        id: target.id,
        data: endpoints.map((endpoint) => endpointView(endpoint, context)),
      }
    }
    if (alias) return showAlias(alias, catalog, context)
    if (model) return modelView(model, context)
    throw notFound(models.nearest(name, 3))
  })
}

/** What everybody is asked for, who has no terms of his own. */
function contextOf({ terms }: Pick<ModelRoutesNeed, 'terms'>): ModelViewContext {
  const { prices, snapshots } = terms.standard
  const { protocolBuilt, health } = snapshots.live
  return { prices, protocolBuilt, healthOf: (id) => health.get(id) }
}

function showAlias(alias: Alias, catalog: Catalog, context: ModelViewContext): Record<string, unknown> {
  const members = modelsOf(alias, catalog)
  return aliasView(
    alias,
    catalog,
    members.some((model) => modelView(model, context).available === true),
  )
}

function notFound(nearest: readonly string[]): MeshError {
  return new MeshError('model_not_found', `There is no such model. The nearest are ${nearest.join(', ')}.`, {
    param: 'model',
    metadata: { nearest },
  })
}
