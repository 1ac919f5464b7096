import { z } from 'zod'
import { MeshError } from '../../errors.ts'
import { type Id, type IdPrefix, isId } from '../../ids.ts'

const NAME_CHARACTERS_MAX = 128

/** A name or reason that a person gave: one line that PostgreSQL can store. */
export const label = z
  .string()
  .trim()
  .min(1)
  .max(NAME_CHARACTERS_MAX)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must not hold control characters')

/** The parameters of a path with an id. */
export const idParams = z.object({ id: z.string() })

/** An id in a body or query. */
export function idOf<Prefix extends IdPrefix>(prefix: Prefix) {
  return z.string().refine((text): text is Id<Prefix> => isId(prefix, text), `must be an id like ${prefix}_…`)
}

/** @throws MeshError `not_found` for a path whose id cannot be one of this kind. */
export function pathId<Prefix extends IdPrefix>(prefix: Prefix, id: string): Id<Prefix> {
  if (isId(prefix, id)) return id
  throw new MeshError(
    'not_found',
    `There is nothing here by this id. Ids of this kind begin with ${prefix}_.`,
  )
}
