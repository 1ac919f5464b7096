import { z } from 'zod'

/** Schemas that stand under a name of their own in the document. */
export const components = z.registry<{ id: string }>()

export function named<Schema extends z.ZodType>(id: string, schema: Schema): Schema {
  components.add(schema, { id })
  return schema
}

export function keysOf<Key extends string>(table: Readonly<Record<Key, unknown>>): [Key, ...Key[]] {
  return Object.keys(table) as [Key, ...Key[]]
}

export const usd = z
  .string()
  .regex(/^-?\d+\.\d{9}$/)
  .meta({ description: 'USD as a decimal number with nine places', examples: ['0.000343875'] })
export const count = z.int().min(0)
export const instant = z.iso.datetime().meta({ description: 'RFC 3339, UTC' })

/** An id of MESH's: what kind of thing it names, and a part that sorts by time. */
export function idOf(prefix: string) {
  return z.string().regex(new RegExp(`^${prefix}_[0-9a-z]{26}$`))
}

/** One page of a list, the newest first. */
export function pageOf<Item extends z.ZodType>(id: string, item: Item) {
  return named(
    id,
    z.strictObject({
      data: z.array(item),
      next_cursor: z
        .string()
        .nullable()
        .meta({ description: '`cursor` of the next page; null on the last one' }),
    }),
  )
}
