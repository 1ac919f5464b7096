import type { MeshChatCompletionChunk } from '../../call.ts'
import type { Command } from '../command.ts'
import { CommandError } from '../exit-codes.ts'
import { callOf, callOptions, PROMPT_WORDS_MAX } from './prompt.ts'

export const chat: Command = {
  name: 'chat',
  summary: 'Ask a model, and see its answer as it comes.',
  takes: '[PROMPT…]',
  wordsMax: PROMPT_WORDS_MAX,
  about: `Without a prompt, standard input is the prompt; with the word -, it comes behind the prompt. The answer goes to
standard output, and what it cost to standard error. With --json the whole answer is printed at its end.`,
  options: {
    ...callOptions,
    quiet: { type: 'boolean', short: 'q', help: 'Say nothing of cost and receipt.' },
  },
  examples: [
    'meshrouter chat -m mesh/claude-sonnet-4.5 --models mesh/gpt-5-mini Explain double entry in a sentence',
    'git diff | meshrouter chat Write a commit message for -',
  ],
  async run(context) {
    const { terminal, options, signal } = context
    const call = await callOf(context)
    const mesh = await context.client()
    if (terminal.json) {
      return terminal.writeJson(await mesh.chat.completions.create(call, { signal }))
    }
    const stream = mesh.chat.completions.create({ ...call, stream: true }, { signal })
    const { data, response } = await stream.withResponse()
    let last: MeshChatCompletionChunk | undefined
    let endsLine = true
    for await (const chunk of data) {
      const text = chunk.choices[0]?.delta.content ?? ''
      await terminal.write(text)
      if (text !== '') endsLine = text.endsWith('\n')
      last = chunk
    }
    if (!endsLine) await terminal.write('\n')
    if (signal.aborted) return
    if (!last?.usage) throw new CommandError('refused', 'The answer broke off before its end.')
    if (options.has('quiet')) return
    const { prompt_tokens, completion_tokens, cost_details } = last.usage
    const receiptId = response.headers.get('x-mesh-receipt-id') ?? ''
    const parts = [
      last.model,
      last.provider,
      `${prompt_tokens} tokens in, ${completion_tokens} out`,
      `$${cost_details.total}`,
      receiptId,
    ]
    terminal.note(parts.join(' · '))
  },
}
