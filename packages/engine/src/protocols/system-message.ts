import type { Message } from '../ask.ts'

export type SystemMessage = Extract<Message, { role: 'system' | 'developer' }>

/** Whether a message instructs the model: many providers take such messages apart from the conversation only. */
export function isSystemMessage(message: Message): message is SystemMessage {
  return message.role === 'system' || message.role === 'developer'
}
