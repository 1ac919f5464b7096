import type { MeshChatParams } from '../../call.ts'
import type { CommandOption, Context } from '../command.ts'
import { CommandError } from '../exit-codes.ts'

const OUTPUT_TOKENS_MAX = 10_000_000
const WORDS_MAX = 10_000

/** A prompt may be many words. */
export const PROMPT_WORDS_MAX = WORDS_MAX

/** The options of a chat call, asked or only planned. */
export const callOptions: Readonly<Record<string, CommandOption>> = {
  model: { type: 'string', short: 'm', value: 'MODEL', help: 'A model, mode or tier (mesh/auto).' },
  models: { type: 'string', value: 'A,B', help: 'Models to fall back to, in this order.' },
  system: { type: 'string', value: 'TEXT', help: 'What the model is to keep to.' },
  'max-tokens': { type: 'string', value: 'N', help: 'The most tokens of output.' },
  'min-class': {
    type: 'string',
    value: 'CLASS',
    choices: ['standard', 'protected', 'private_gateway', 'confidential'],
    help: 'The least privacy that will do.',
  },
  metadata: {
    type: 'string',
    value: 'NAME=VALUE',
    multiple: true,
    help: 'Metadata; mesh_simulate steers the simulator of a test key.',
  },
}

/** The call that words, options and standard input ask for. */
export async function callOf(context: Context): Promise<MeshChatParams> {
  const { options } = context
  const models = options.list('models')
  const system = options.text('system')
  const maxTokens = options.count('max-tokens', { min: 1, max: OUTPUT_TOKENS_MAX })
  const minClass = options.oneOf('min-class', ['standard', 'protected', 'private_gateway', 'confidential'])
  const metadata = options.texts('metadata').map(pairOf)
  const content = await promptOf(context)
  return {
    model: options.text('model') ?? 'mesh/auto',
    ...(models.length > 0 ? { models } : {}),
    ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
    ...(metadata.length > 0 ? { metadata: Object.fromEntries(metadata) } : {}),
    ...(minClass === undefined ? {} : { privacy: { mode: 'protected', min_class: minClass } }),
    messages: [
      ...(system === undefined ? [] : [{ role: 'system' as const, content: system }]),
      { role: 'user', content },
    ],
  }
}

function pairOf(text: string): [name: string, value: string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new CommandError('usage', '--metadata is written NAME=VALUE.')
}

/** The words are the prompt. Standard input is read where there are none, and where one of them is a dash. */
async function promptOf({ words, readInput, terminal }: Context): Promise<string> {
  const readsInput = words.length === 0 || words.includes('-')
  if (!readsInput) return words.join(' ')
  if (words.length === 0) terminal.note('Reading the prompt from standard input; Ctrl-D ends it.')
  const said = words.filter((word) => word !== '-').join(' ')
  const read = (await readInput()).trim()
  const prompt = [said, read].filter((part) => part !== '').join('\n\n')
  if (prompt !== '') return prompt
  throw new CommandError('usage', 'There is no prompt: give it as words, or on standard input.')
}
