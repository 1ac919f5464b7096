import type { ProtocolName } from '@mesh/catalog/catalog.ts'
import type { Protocol } from '../protocol.ts'
import { anthropicMessages } from './anthropic-messages.ts'
import { openaiChat } from './openai-chat.ts'

const PROTOCOLS: { readonly [Name in ProtocolName]?: Protocol } = {
  openai_chat: openaiChat,
  anthropic_messages: anthropicMessages,
  // The same words at another address: the target has it, and the deployment's name is the model.
  azure_openai: openaiChat,
}

/** The protocol of that name, or `undefined` where this build does not speak it. */
export function protocolFor(name: ProtocolName): Protocol | undefined {
  return PROTOCOLS[name]
}
