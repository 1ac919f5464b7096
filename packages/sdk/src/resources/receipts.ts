import type OpenAI from 'openai'
import type { APIPromise } from 'openai'
import type { ReceiptId } from '../ids.ts'
import { type ListParams, listOf, type MeshList } from '../page.ts'
import { type Receipt, type ReceiptClaims, type ReceiptKeys, verifyReceipt } from '../verify-receipt.ts'

/** `mesh.receipts`: the signed receipts of calls, for keys with the scope `usage`. */
export class Receipts {
  readonly #client: OpenAI

  constructor(client: OpenAI) {
    this.#client = client
  }

  list(query: ListParams = {}, options?: OpenAI.RequestOptions): MeshList<Receipt> {
    return listOf(this.#client, '/receipts', { ...query }, options)
  }

  /** A receipt by its id, which a call's answer carries in the header `x-mesh-receipt-id`. */
  retrieve(id: ReceiptId, options?: OpenAI.RequestOptions): APIPromise<Receipt> {
    return this.#client.get(`/receipts/${encodeURIComponent(id)}`, options)
  }

  /**
   * The public keys that this MESH signs with. Keep them: a receipt that is verified with keys from elsewhere than the
   * receipt itself proves something.
   */
  keys(options?: OpenAI.RequestOptions): APIPromise<ReceiptKeys> {
    const root = this.#client.baseURL.replace(/\/v1\/?$/, '')
    return this.#client.get(`${root}/.well-known/mesh-receipt-keys.json`, options)
  }

  /**
   * Verifies a receipt offline, with keys that were kept. See `verifyReceipt`, which needs no client.
   * @throws ReceiptError where anything in receipt, key or signature was changed.
   */
  verify(receipt: Receipt | string, { keys }: { readonly keys: ReceiptKeys }): Promise<ReceiptClaims> {
    return verifyReceipt(receipt, keys)
  }
}
