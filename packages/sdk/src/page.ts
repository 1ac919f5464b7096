import type OpenAI from 'openai'
import type { PagePromise } from 'openai'
import { AbstractPage, type PageRequestOptions } from 'openai/core/pagination'

/** The query of every list. The newest come first. */
export interface ListParams {
  /** Items a page: 1 to 100, 20 where nothing is said. */
  readonly limit?: number
  /** `next_cursor` of the page before. */
  readonly cursor?: string
}

/** One page of a list. `for await` over it, or over the call itself, goes on to the pages after it. */
export class MeshPage<Item> extends AbstractPage<Item> {
  readonly data: Item[]
  /** Null on the last page. */
  readonly next_cursor: string | null

  constructor(...parts: ConstructorParameters<typeof AbstractPage<Item>>) {
    super(...parts)
    const { data, next_cursor } = parts[2] as { data: Item[]; next_cursor: string | null }
    this.data = data
    this.next_cursor = next_cursor
  }

  getPaginatedItems(): Item[] {
    return this.data
  }

  nextPageRequestOptions(): PageRequestOptions | null {
    if (this.next_cursor === null) return null
    return { ...this.options, query: { ...(this.options.query as object), cursor: this.next_cursor } }
  }
}

/** A list that may be awaited, for its first page, or iterated, for all. */
export type MeshList<Item> = PagePromise<MeshPage<Item>, Item>

/** Asks for a list. */
export function listOf<Item>(
  client: OpenAI,
  path: string,
  query: ListParams & Readonly<Record<string, unknown>>,
  options?: OpenAI.RequestOptions,
): MeshList<Item> {
  return client.getAPIList(path, MeshPage<Item>, { query: { ...query }, ...options })
}
