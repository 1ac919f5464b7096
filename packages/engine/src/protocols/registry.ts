import type { ProtocolName } from '@mesh/catalog/catalog.ts'
import type { Protocol } from '../protocol.ts'
import { anthropicMessages } from './anthropic-messages.ts'
import { bedrockConverse } from './bedrock-converse.ts'
import { cohereV2 } from './cohere.ts'
import { gemini } from './gemini.ts'
import { geminiEmbed } from './gemini-embed.ts'
import { jinaStyleRerank } from './jina-rerank.ts'
import { openaiChat } from './openai-chat.ts'
import { openaiEmbeddings } from './openai-embeddings.ts'
import { openaiResponses } from './openai-responses.ts'

const PROTOCOLS: { readonly [Name in ProtocolName]?: Protocol } = {
  openai_chat: openaiChat,
  openai_responses: openaiResponses,
  anthropic_messages: anthropicMessages,
  // The same words at another address: the target has it, and the deployment's name is the model.
  azure_openai: openaiChat,
  cohere_v2: cohereV2,
  gemini,
  bedrock_converse: bedrockConverse,
  openai_embeddings: openaiEmbeddings,
  azure_openai_embeddings: openaiEmbeddings,
  gemini_embed: geminiEmbed,
  jina_style_rerank: jinaStyleRerank,
}

/** The protocol of that name, or `undefined` where this build does not speak it. */
export function protocolFor(name: ProtocolName): Protocol | undefined {
  return PROTOCOLS[name]
}
