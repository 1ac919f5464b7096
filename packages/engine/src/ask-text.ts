import type { Ask, InputPart, Message, Task, Tool } from './ask.ts'

/**
 * Every text of an ask that a model reads, in its order: what `boundInput` counts the bytes of. Texts that came as
 * tokens are none.
 */
export function textsOf(ask: Ask): readonly string[] {
  if (ask.task) return taskTexts(ask.task)
  const format = ask.responseFormat
  const schema: readonly Tool[] =
    format?.type === 'json_schema'
      ? [
          {
            name: format.name,
            parameters: format.schema,
            ...(format.description === undefined ? {} : { description: format.description }),
          },
        ]
      : []
  const texts = [...ask.messages.flatMap(messageTexts), ...[...ask.tools, ...schema].flatMap(toolTexts)]
  return texts.filter((text) => text !== undefined)
}

/** A query is read anew with every document. */
function taskTexts(task: Task): readonly string[] {
  if (task.type === 'rank') return task.documents.flatMap((document) => [task.query, document])
  return task.inputs.filter((text) => typeof text === 'string')
}

function messageTexts(message: Message): readonly (string | undefined)[] {
  const said = message.parts.map(partText)
  switch (message.role) {
    case 'user':
      return [...said, message.name]
    case 'tool':
      return [...said, message.toolCallId]
    case 'assistant':
      return [
        ...said,
        message.refusal,
        ...message.reasoning.flatMap((block) => [block.text, block.signature, block.redacted]),
        ...message.toolCalls.flatMap((call) => [call.id, call.name, call.signature, call.arguments]),
      ]
    case 'system':
    case 'developer':
      return said
  }
}

function partText(part: InputPart): string | undefined {
  if (part.type === 'text') return part.text
  return part.type === 'file' ? part.filename : undefined
}

function toolTexts({ name, description, parameters }: Tool): readonly (string | undefined)[] {
  return [name, description, parameters === undefined ? undefined : JSON.stringify(parameters)]
}
