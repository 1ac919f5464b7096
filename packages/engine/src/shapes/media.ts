import type { MediaSource } from '../ask.ts'
import { CHAT_BOUNDS } from './bounds.ts'

/** What every provider that takes images takes. */
const IMAGE_TYPES: ReadonlySet<string> = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp'])
const FILE_TYPES: ReadonlySet<string> = new Set(['application/pdf'])
/** A data URL's part before the comma; longer ones carry parameters that no provider reads. */
const DATA_HEADER_CHARACTERS_MAX = 128
const DATA_HEADER = /^data:([a-z]+\/[a-z0-9.+-]+);base64$/i
const NOT_BASE64 = /[^A-Za-z0-9+/]/

/**
 * Whether a text is base64 by its characters, padding and length. It is not decoded: it goes upstream as it came.
 * The search is for the first foreign character, so its cost is linear whatever the text.
 */
export function isBase64(text: string): boolean {
  if (text.length === 0 || text.length % 4 !== 0) return false
  const end = text.search(NOT_BASE64)
  if (end === -1) return true
  const padding = text.length - end
  return end > 0 && (padding === 1 || padding === 2) && text.endsWith('='.repeat(padding))
}

/** Reads an image's URL: `http`, `https`, or a data URL of a known image type. */
export function parseImageUrl(url: string): MediaSource | undefined {
  if (/^data:/i.test(url)) return parseDataUrl(url, IMAGE_TYPES)
  if (url.length > CHAT_BOUNDS.urlCharactersMax) return undefined
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) return undefined
  return { kind: 'url', url }
}

/** Reads a file's data URL. A PDF is the one kind of document that providers agree on. */
export function parseFileData(url: string): MediaSource | undefined {
  return parseDataUrl(url, FILE_TYPES)
}

function parseDataUrl(url: string, mediaTypes: ReadonlySet<string>): MediaSource | undefined {
  const comma = url.slice(0, DATA_HEADER_CHARACTERS_MAX).indexOf(',')
  const written = DATA_HEADER.exec(url.slice(0, Math.max(comma, 0)))?.[1]?.toLowerCase()
  const mediaType = written === 'image/jpg' ? 'image/jpeg' : written
  if (mediaType === undefined || !mediaTypes.has(mediaType)) return undefined
  const base64 = url.slice(comma + 1)
  return isBase64(base64) ? { kind: 'base64', mediaType, base64 } : undefined
}
