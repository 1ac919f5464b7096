import type { Mesh } from './call/mesh.ts'

/** What may change while a router runs. Each part is replaced whole, never changed in place. */
export type Conditions = Pick<Mesh, 'catalog' | 'models' | 'prices' | 'snapshot' | 'policy' | 'engines'>

/** The router as the next call finds it. */
export class MeshNow {
  #current: Mesh

  constructor(first: Mesh) {
    this.#current = first
  }

  get current(): Mesh {
    return this.#current
  }

  /** Replaces what changed. Calls under way keep what they began with. */
  change(changes: Partial<Conditions>): void {
    this.#current = { ...this.#current, ...changes }
  }
}
