import { z } from 'zod'
import { MeshError } from '../errors.ts'
import { type Id, type IdPrefix, isRecordId } from '../ids.ts'

const LIMIT_MAX = 100
const LIMIT_DEFAULT = 20

/** The query of every list: the newest come first. */
export const pageQuery = z.strictObject({
  limit: z
    .string()
    .regex(/^[0-9]{1,3}$/, `must be a whole number from 1 to ${LIMIT_MAX}`)
    .transform(Number)
    .refine((limit) => limit >= 1 && limit <= LIMIT_MAX, `must be a whole number from 1 to ${LIMIT_MAX}`)
    .default(LIMIT_DEFAULT),
  cursor: z.string().max(128).optional(),
})

/** One page of a list. `next_cursor` is null on the last one. */
export interface Page<Item> {
  readonly data: readonly Item[]
  readonly next_cursor: string | null
}

/**
 * The id that a page begins below; undefined for the first page.
 * @throws MeshError `invalid_request` for a cursor that no list of this kind has given out.
 */
export function readCursor<Prefix extends IdPrefix>(
  cursor: string | undefined,
  prefix: Prefix,
): Id<Prefix> | undefined {
  if (cursor === undefined) return undefined
  const id = Buffer.from(cursor, 'base64url').toString('latin1')
  if (isRecordId(prefix, id)) return id
  throw new MeshError('invalid_request', 'cursor: Use next_cursor of the page before, as it came.', {
    param: 'cursor',
  })
}

/** A page from up to `limit + 1` rows: the one too many only says that there is more. */
export function toPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  idOf: (row: Row) => string,
  render: (row: Row) => Item,
): Page<Item> {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return {
    data: shown.map(render),
    next_cursor: rows.length > limit && last ? Buffer.from(idOf(last), 'latin1').toString('base64url') : null,
  }
}
