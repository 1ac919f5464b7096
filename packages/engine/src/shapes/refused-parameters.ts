import { fault, type RequestFault } from './fault.ts'

/** A parameter that MESH refuses because it would store, multiply or outsource a call, or has a price that is not held. */
export interface Refusal {
  /** Whether a value asks for the thing at all; without it every value does that does not say nothing. */
  readonly asks?: (value: unknown) => boolean
  /** What to do instead. */
  readonly predicate: string
}

/** The first parameter of a body that is refused. `saysNothing`: which values say nothing, as the shape has it. */
export function refusedOf(
  body: Readonly<Record<string, unknown>>,
  refusals: ReadonlyMap<string, Refusal>,
  saysNothing: (value: unknown) => boolean = isOff,
): RequestFault | undefined {
  for (const [name, { asks, predicate }] of refusals) {
    const value = Object.hasOwn(body, name) ? body[name] : undefined
    if (saysNothing(value)) continue
    if (asks?.(value) ?? true) return fault('unsupported_parameter', [name], predicate)
  }
  return undefined
}

/** OpenAI takes an empty object for a wish: `web_search_options: {}` searches the web. */
export function isOff(value: unknown): boolean {
  return value === undefined || value === null || value === false
}
