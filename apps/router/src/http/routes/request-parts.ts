import { z } from 'zod'
import { MeshError } from '../../errors.ts'
import { type Id, type IdPrefix, isId } from '../../ids.ts'

const NAME_CHARACTERS_MAX = 128

/**
 * What breaks a line, has no form in UTF-8, or turns the direction of what stands behind it (U+202A to U+202E, U+2066
 * to U+2069), so that a name would not read as it is written (CVE-2021-42574).
 */
const NOT_IN_A_LABEL = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u

/** A name or reason that a person gave: one line that PostgreSQL can store. */
export const label = z
  .string()
  .trim()
  .min(1)
  .max(NAME_CHARACTERS_MAX)
  .refine((text) => !NOT_IN_A_LABEL.test(text), 'must not hold control characters')

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
