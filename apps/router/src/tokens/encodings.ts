import type { Model } from '@mesh/catalog/catalog.ts'

/** The vocabularies that can be counted with. */
export type EncodingName = 'o200k_base' | 'o200k_harmony' | 'cl100k_base'

export interface Encoding {
  readonly name: EncodingName
  /** Whether it is the model's own; otherwise it stands in for one that is not published in a form to count with. */
  readonly isOwn: boolean
}

/** Which vocabulary counts for a model, or for one that is yet to be chosen: https://github.com/openai/tiktoken/blob/main/tiktoken/model.py */
export function encodingOf(model: Pick<Model, 'id' | 'vendor'> | undefined): Encoding {
  if (model?.vendor !== 'openai') return { name: 'o200k_base', isOwn: false }
  if (model.id.startsWith('mesh/gpt-oss-')) return { name: 'o200k_harmony', isOwn: true }
  if (model.id.startsWith('mesh/text-embedding-')) return { name: 'cl100k_base', isOwn: true }
  return { name: 'o200k_base', isOwn: true }
}
