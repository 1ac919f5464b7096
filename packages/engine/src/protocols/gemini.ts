import type { Protocol } from '../protocol.ts'
import { classifyAnswer } from '../upstream-failure.ts'
import { generateContentDecoder } from './gemini-decode.ts'
import { candidateCount, encodeGenerateContent, generateContentTakes } from './gemini-encode.ts'

/**
 * Google's Gemini API: `generateContent` and `streamGenerateContent`. https://ai.google.dev/api/generate-content
 *
 * A stream has no terminal event: it is whole when its connection ended cleanly and every candidate has said why it
 * finished (`answer-decoder.ts`).
 */
export const gemini: Protocol = {
  choices: candidateCount,
  encode: encodeGenerateContent,
  takes: generateContentTakes,
  decoder: generateContentDecoder,
  classify: classifyAnswer,
}
