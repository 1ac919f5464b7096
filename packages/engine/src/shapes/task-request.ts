import * as z from 'zod'
import type { Ask, Task } from '../ask.ts'
import { CHAT_BOUNDS } from './bounds.ts'
import { chatRequest } from './caller-request.ts'
import { type Extensions, extensions, metadata } from './extensions.ts'
import { fault, faultOfIssue } from './fault.ts'
import { readObject } from './read-body.ts'
import type { ParsedRequest, ParseOptions } from './shape.ts'

/** What calls for vectors and for scores take alike, beside what is theirs. */
export const taskParameters = extensions.extend({
  user: z.string().max(CHAT_BOUNDS.endUserCharactersMax).nullish(),
  metadata: metadata.nullish(),
})

type TaskParameters = z.output<typeof taskParameters>

/** How one shape of a task is read. */
export interface TaskReader<Parameters extends TaskParameters> {
  /** A schema of the whole body. */
  readonly schema: z.ZodType<Parameters> & { readonly shape: Readonly<Record<string, unknown>> }
  toTask(parameters: Parameters): Task
  /** Parameters that clients of the shape send and that mean nothing here. */
  readonly ignored?: ReadonlySet<string>
}

/** Reads the body of a call that generates nothing. */
export function parseTask<Parameters extends TaskParameters>(
  body: unknown,
  options: ParseOptions,
  { schema, toTask, ignored = new Set() }: TaskReader<Parameters>,
): ParsedRequest {
  const read = readObject(body, () => ({ parts: 0, mediaBytes: 0 }))
  if (!read.ok) return read
  const whole = read.value
  if (whole.stream === true) {
    return fault('unsupported_parameter', ['stream'], 'must be false: this answer comes in one piece')
  }
  const parsed = schema.safeParse(whole)
  if (!parsed.success) return faultOfIssue(parsed.error, [])
  const parameters = parsed.data
  return chatRequest(
    {
      ask: askOf(toTask(parameters), parameters, options),
      extensions: parameters satisfies Extensions,
      metadata: parameters.metadata ?? {},
      body: whole,
      knows: (member) => Object.hasOwn(schema.shape, member) || ignored.has(member) || member === 'stream',
    },
    options,
  )
}

function askOf(task: Task, { user }: TaskParameters, options: ParseOptions): Ask {
  return {
    task,
    messages: [],
    tools: [],
    stop: [],
    choices: 1,
    extras: {},
    ...(typeof user === 'string' ? { endUserHmac: options.pseudonym('end_user', user) } : {}),
    stream: false,
    usageChunk: false,
  }
}
