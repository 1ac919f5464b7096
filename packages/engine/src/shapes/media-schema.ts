import * as z from 'zod'
import type { MediaSource } from '../ask.ts'
import { parseFileData, parseImageUrl } from './media.ts'

/** A text that is read into a source of media, or refused with what it must be. */
export function media(read: (text: string) => MediaSource | undefined, message: string) {
  return z.string().transform((text, context) => {
    const source = read(text)
    if (source) return source
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  })
}

export const imageUrl = media(
  parseImageUrl,
  'must be an http(s) URL, or a base64 data URL of a PNG, JPEG, GIF or WebP image',
)

export const fileData = media(parseFileData, 'must be a data URL: data:application/pdf;base64,…')
