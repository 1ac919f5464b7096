import type { MeshModel } from '../../resources/models.ts'
import type { Command } from '../command.ts'

export const models: Command = {
  name: 'models',
  summary: 'List models, or the endpoints of one.',
  takes: '[MODEL]',
  wordsMax: 1,
  about: 'Prices are USD per million tokens. A name that is no model, mode or tier is searched for.',
  examples: ['meshrouter models', 'meshrouter models mesh/claude-sonnet-4.5', 'meshrouter models claude'],
  async run({ client, words: [name], terminal, signal }) {
    const mesh = await client()
    const list = (await mesh.models.list({ signal })).data
    const exact = name === undefined ? undefined : list.find((model) => isNamed(model, name))
    if (exact) {
      const endpoints = await mesh.models.endpoints(exact.id, { signal })
      if (terminal.json) return terminal.writeJson(endpoints)
      return terminal.table(
        ['provider', 'model', 'context', 'input', 'output', 'privacy', 'available'],
        endpoints.data.map(({ provider, model, context_length, pricing, privacy, available }) => [
          provider,
          model,
          context_length,
          pricing?.usd_per_million.input,
          pricing?.usd_per_million.output,
          privacy.in_the_clear,
          available ? 'yes' : 'no',
        ]),
      )
    }
    const found = name === undefined ? list : list.filter((model) => holds(model, name))
    if (terminal.json) return terminal.writeJson({ object: 'list', data: found })
    await terminal.table(
      ['model', 'kind', 'context', 'input', 'output', 'providers'],
      found.map(({ id, kind, type, alias_of, context_length, pricing, providers }) => [
        id,
        type === 'alias' ? alias_of : kind,
        context_length,
        pricing?.usd_per_million.input,
        pricing?.usd_per_million.output,
        providers?.join(', '),
      ]),
    )
    if (found.length === 0) terminal.note('No model has that in its name.')
  },
}

function isNamed({ id, aliases = [] }: MeshModel, name: string): boolean {
  return id === name || id === `mesh/${name}` || aliases.includes(name)
}

function holds({ id, name }: MeshModel, text: string): boolean {
  return `${id} ${name}`.toLowerCase().includes(text.toLowerCase())
}
