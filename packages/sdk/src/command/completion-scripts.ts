import type { Command } from './command.ts'
import { SHARED_OPTIONS } from './help.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** A script that completes what the list of commands has. It asks nothing of MESH. */
export function completionScript(shell: Shell, commands: readonly Command[]): string {
  const write = { bash, zsh, fish }[shell]
  return write(commands)
}

/** The words that may follow a command's name: words of longer names, choices, and options. */
function wordsAfter(prefix: string, commands: readonly Command[]): string[] {
  const longer = commands.flatMap(({ name }) => {
    const inner = prefix === '' ? name : name.startsWith(`${prefix} `) ? name.slice(prefix.length + 1) : ''
    return inner.split(' ')[0] || []
  })
  const command = commands.find(({ name }) => name === prefix)
  const options = prefix === '' ? ['help', 'version'] : optionNames(command)
  return [...new Set([...longer, ...(command?.choices ?? []), ...options.map((name) => `--${name}`)])]
}

function optionNames(command: Command | undefined): string[] {
  return Object.keys({ ...command?.options, ...SHARED_OPTIONS })
}

function prefixesOf(commands: readonly Command[]): string[] {
  const names = commands.flatMap(({ name }) => [name, name.split(' ')[0] ?? ''])
  return [...new Set(['', ...names])]
}

function choicesOf(commands: readonly Command[]): [option: string, choices: readonly string[]][] {
  const options = commands.flatMap(({ options: own = {} }) => Object.entries(own))
  const chosen = options.flatMap(([name, { choices }]) => (choices ? [[name, choices] as const] : []))
  return [...new Map(chosen)].map(([name, choices]) => [name, choices])
}

function bash(commands: readonly Command[]): string {
  const cases = prefixesOf(commands).map(
    (prefix) => `    '${prefix}') words='${wordsAfter(prefix, commands).join(' ')}' ;;`,
  )
  const choices = choicesOf(commands).map(([name, words]) => `    --${name}) words='${words.join(' ')}' ;;`)
  const doubles = commands.flatMap(({ name }) => (name.includes(' ') ? [`'${name}'`] : []))
  return `# bash completion of meshrouter
_meshrouter() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} name='' words=''
  if (( COMP_CWORD > 1 )); then name=\${COMP_WORDS[1]}; fi
  if (( COMP_CWORD > 2 )); then
    case "\${COMP_WORDS[1]} \${COMP_WORDS[2]}" in
    ${doubles.join('|')}) name="\${COMP_WORDS[1]} \${COMP_WORDS[2]}" ;;
    esac
  fi
  case $previous in
${choices.join('\n')}
    *)
    case $name in
${cases.join('\n')}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ -z $words || \${#COMPREPLY[@]} -eq 0 ]]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -F _meshrouter meshrouter
`
}

function zsh(commands: readonly Command[]): string {
  const cases = prefixesOf(commands).map(
    (prefix) => `    '${prefix}') candidates=(${wordsAfter(prefix, commands).join(' ')}) ;;`,
  )
  const choices = choicesOf(commands).map(
    ([name, words]) => `    --${name}) candidates=(${words.join(' ')}) ;;`,
  )
  const doubles = commands.flatMap(({ name }) => (name.includes(' ') ? [`'${name}'`] : []))
  return `#compdef meshrouter
_meshrouter() {
  local name='' previous=\${words[CURRENT-1]}
  local -a candidates
  (( CURRENT > 2 )) && name=\${words[2]}
  if (( CURRENT > 3 )); then
    case "\${words[2]} \${words[3]}" in
    ${doubles.join('|')}) name="\${words[2]} \${words[3]}" ;;
    esac
  fi
  case $previous in
${choices.join('\n')}
    *)
    case $name in
${cases.join('\n')}
    esac ;;
  esac
  compadd -- $candidates || _files
}
if [[ $funcstack[1] == _meshrouter ]]; then _meshrouter; else compdef _meshrouter meshrouter; fi
`
}

function fish(commands: readonly Command[]): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "\\'")}'`
  const lines = commands.flatMap((command) => {
    const [first = '', second] = command.name.split(' ')
    const seen = second
      ? `__fish_seen_subcommand_from ${first}; and __fish_seen_subcommand_from ${second}`
      : `__fish_seen_subcommand_from ${first}`
    const named = second
      ? `complete -c meshrouter -f -n '__fish_seen_subcommand_from ${first}' -a ${second} -d ${quoted(command.summary)}`
      : `complete -c meshrouter -f -n __fish_use_subcommand -a ${first} -d ${quoted(command.summary)}`
    const options = Object.entries({ ...command.options, ...SHARED_OPTIONS }).map(
      ([name, { type, short, choices, help }]) =>
        [
          `complete -c meshrouter -n '${seen}' -l ${name}`,
          ...(short ? [`-s ${short}`] : []),
          ...(type === 'string' ? ['-r'] : []),
          ...(choices ? [`-f -a '${choices.join(' ')}'`] : []),
          `-d ${quoted(help)}`,
        ].join(' '),
    )
    const words = command.choices
      ? [`complete -c meshrouter -f -n '${seen}' -a '${command.choices.join(' ')}'`]
      : []
    return [named, ...options, ...words]
  })
  // A group that is no command by itself is a word as well.
  const groups = [...new Set(commands.map(({ name }) => name.split(' ')[0] ?? ''))].filter(
    (group) => !commands.some(({ name }) => name === group),
  )
  const grouped = groups.map((group) => `complete -c meshrouter -f -n __fish_use_subcommand -a ${group}`)
  return `# fish completion of meshrouter\n${[...grouped, ...lines].join('\n')}\n`
}
