import type { Command } from '../command.ts'
import { completionScript, SHELLS } from '../completion-scripts.ts'
import { CommandError } from '../exit-codes.ts'

export const completion: Command = {
  name: 'completion',
  summary: 'Print what completes commands and options in a shell.',
  takes: SHELLS.join('|'),
  choices: SHELLS,
  wordsMax: 1,
  examples: [
    'source <(meshrouter completion bash)',
    'meshrouter completion zsh > "$HOME/.zfunc/_meshrouter"',
    'meshrouter completion fish > ~/.config/fish/completions/meshrouter.fish',
  ],
  async run({ words: [name], terminal }) {
    const shell = SHELLS.find((each) => each === name)
    if (!shell) throw new CommandError('usage', `Say for which shell: ${SHELLS.join(', ')}.`)
    // The list of commands holds this one, so it is looked at when it is whole.
    const { COMMANDS } = await import('../commands.ts')
    await terminal.write(completionScript(shell, COMMANDS))
  },
}
