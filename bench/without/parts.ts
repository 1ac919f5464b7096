/** The parts whose cost is measured by leaving them out, one at a time. */
export const PARTS = {
  nothing: 'nothing',
  limits: 'limits: the key has none',
  authentication: 'looking the key up: whoever calls is the first caller',
  receipts: 'rows of receipts',
  metrics: 'metrics of the books',
  disk: 'waiting for the disk (fsync off)',
  settlements: 'settlements: calls end, and nothing is written',
  holds: 'holds: all are granted from memory',
  books: 'holds and settlements: no PostgreSQL on the path',
  upstream: 'the HTTP client: the provider answers from memory',
} as const

export type PartName = keyof typeof PARTS

/** The environment variable that tells the program which part to leave out. */
export const WITHOUT = 'MESH_BENCH_WITHOUT'

/** Which part is left out of this process. */
export function leftOut(): PartName {
  const name = process.env[WITHOUT] ?? 'nothing'
  if (!Object.hasOwn(PARTS, name)) throw new Error(`there is no part ${name}`)
  return name as PartName
}
