import type { Protocol } from '../protocol.ts'
import { converseDecoder } from './bedrock-converse-decode.ts'
import { converseTakes, encodeConverse } from './bedrock-converse-encode.ts'
import { classifyConverse } from './bedrock-converse-failure.ts'

/**
 * Amazon Bedrock's Converse. https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
 *
 * The model and the wish to stream are in the path; a stream is not of server-sent events (`aws-event-stream.ts`), and
 * its terminal event is `metadata`. What a vendor's models do otherwise is in `converse-quirks.ts`.
 */
export const bedrockConverse: Protocol = {
  // There is one message in an answer.
  choices: () => 1,
  encode: encodeConverse,
  takes: converseTakes,
  decoder: converseDecoder,
  classify: classifyConverse,
}
