import type { UsageGroup } from '../../resources/usage.ts'
import type { Command } from '../command.ts'
import { CommandError } from '../exit-codes.ts'

const GROUPS = ['day', 'model', 'provider', 'project', 'key'] as const satisfies readonly UsageGroup[]

export const usage: Command = {
  name: 'usage',
  summary: 'Sum up calls, tokens and cost.',
  wordsMax: 0,
  options: {
    by: { type: 'string', value: 'A,B', help: `Split by ${GROUPS.join(', ')}.` },
    from: { type: 'string', value: 'DATE', help: 'The first day or moment (30 days before the end).' },
    to: { type: 'string', value: 'DATE', help: 'The end, which does not count itself (now).' },
  },
  examples: ['meshrouter usage --by day,model --from 2026-11-01'],
  async run({ client, options, terminal, signal }) {
    const groupBy = options.list('by').map((name) => {
      const group = GROUPS.find((each) => each === name)
      if (group) return group
      throw new CommandError('usage', `--by takes ${GROUPS.join(', ')}.`)
    })
    const [from, to] = [options.text('from'), options.text('to')]
    const span = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) }
    const report = await (await client()).usage.retrieve({ groupBy, ...span }, { signal })
    if (terminal.json) return terminal.writeJson(report)
    await terminal.table(
      [...groupBy, 'calls', 'tokens in', 'tokens out', 'USD'],
      report.data.map((row) => [
        ...groupBy.map((group) => row[group]),
        row.requests,
        row.inputTokens,
        row.outputTokens,
        row.totalUsd,
      ]),
    )
    terminal.note(`${report.from} to ${report.to}`)
  },
}
