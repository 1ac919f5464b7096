const MADE = '<!-- Made by `npm run docs` from the code. Change it there. -->'

/** A page that is made from the code. */
export function page(title: string, ...parts: readonly string[]): string {
  return `# ${title}\n${MADE}\n\n${parts.join('\n\n')}\n`
}

export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(headings), line(headings.map(() => '---')), ...rows.map(line)].join('\n')
}
