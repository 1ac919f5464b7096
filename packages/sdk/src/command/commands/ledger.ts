import type { LedgerEntry } from '../../resources/ledger.ts'
import type { Command } from '../command.ts'

const PAGE_MAX = 100
const SHOWN_DEFAULT = 20
const SHOWN_MAX = 100_000

export const ledger: Command = {
  name: 'ledger',
  summary: 'Show grants, purchases and what calls cost, with the balance after each.',
  wordsMax: 0,
  options: {
    number: { type: 'string', short: 'n', value: 'N', help: `How many of the latest (${SHOWN_DEFAULT}).` },
  },
  examples: ['meshrouter ledger -n 100'],
  async run({ client, options, terminal, signal }) {
    const count = options.count('number', { min: 1, max: SHOWN_MAX }) ?? SHOWN_DEFAULT
    const entries: LedgerEntry[] = []
    const mesh = await client()
    for await (const entry of mesh.ledger.list({ limit: Math.min(count, PAGE_MAX) }, { signal })) {
      entries.push(entry)
      if (entries.length === count) break
    }
    if (terminal.json) return terminal.writeJson({ data: entries })
    await terminal.table(
      ['time', 'type', 'USD', 'balance', 'call', 'reason'],
      entries.map((entry) => [
        entry.createdAt,
        entry.type,
        entry.amountUsd,
        entry.balanceAfterUsd,
        entry.requestId,
        entry.reason,
      ]),
    )
  },
}
