import { COMMANDS } from '../../packages/sdk/src/command/commands.ts'
import { EXIT_CODES } from '../../packages/sdk/src/command/exit-codes.ts'
import { helpOf } from '../../packages/sdk/src/command/help.ts'
import { page, table } from './markdown.ts'

/** `docs/cli.md`: what the help of every command says. */
export function cliPage(): string {
  return page(
    'The command meshrouter',
    `It comes with the [SDK](sdk.md): \`npm install --global @meshrouter/sdk\`, or \`npx --package @meshrouter/sdk meshrouter\`.
It runs on Node 20 or newer.`,
    `## Key and address
The key comes from \`MESH_API_KEY\`; else from the file that \`MESH_API_KEY_FILE\` names; else from \`OPENAI_API_KEY\`, where that is a key of MESH;
else from \`~/.config/meshrouter/key\` (\`$XDG_CONFIG_HOME\` is heeded). Files must have mode 0600. A command line that holds a key is refused.
\`MESH_BASE_URL\` or \`--base-url\` says where MESH is, with its \`/v1\`.`,
    `## What is printed
Answers go to standard output, everything about them to standard error. To a terminal, lists come in columns and in colours (not where \`NO_COLOR\` is set),
and what would steer the terminal is taken out; to anything else they come with tabs. \`--json\` prints what the API answered, an error too, on standard error.`,
    '## Exit codes',
    table(
      ['code', 'meaning'],
      Object.values(EXIT_CODES).map(({ code, meaning }) => [String(code), meaning]),
    ),
    '## Commands',
    ...COMMANDS.map((command) => `### ${command.name}\n\`\`\`text\n${helpOf(command)}\`\`\``),
  )
}
