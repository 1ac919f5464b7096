import type { Mesh } from './call/mesh.ts'
import type { Conditions } from './conditions.ts'

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
