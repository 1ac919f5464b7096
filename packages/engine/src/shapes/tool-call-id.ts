import * as z from 'zod'
import { readSignedId, SIGNED_ID_CHARACTERS_ADDED_MAX } from '../tool-call-signature.ts'
import { CHAT_BOUNDS } from './bounds.ts'

/** A tool call's id as it was given out: with the call's signature in it, where the call has one. */
export const toolCallId = z
  .string()
  .min(1)
  .max(CHAT_BOUNDS.toolCallIdCharactersMax + SIGNED_ID_CHARACTERS_ADDED_MAX)
  .refine((text) => readSignedId(text).id.length <= CHAT_BOUNDS.toolCallIdCharactersMax, {
    error: `must be at most ${CHAT_BOUNDS.toolCallIdCharactersMax} characters long`,
  })
