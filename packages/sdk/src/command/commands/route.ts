import type { Command } from '../command.ts'
import { callOf, callOptions, PROMPT_WORDS_MAX } from './prompt.ts'

export const route: Command = {
  name: 'route',
  summary: 'Show who would answer a call, and what it could cost, without making it.',
  takes: '[PROMPT…]',
  wordsMax: PROMPT_WORDS_MAX,
  about: 'It takes what chat takes. It is free, and leaves nothing behind. USD.',
  options: callOptions,
  examples: ['meshrouter route -m mesh/best Prove that there is no greatest prime'],
  async run(context) {
    const { terminal, signal } = context
    const call = await callOf(context)
    const plan = await (await context.client()).route(call, { signal })
    if (terminal.json) return terminal.writeJson(plan)
    await terminal.table(
      ['rank', 'model', 'provider', 'privacy', 'expected', 'most'],
      plan.candidates.map((candidate) => [
        candidate.rank,
        candidate.model,
        candidate.provider,
        candidate.privacy_class,
        candidate.expected_cost_usd,
        candidate.max_cost_usd,
      ]),
    )
    const reasons = [...new Set(plan.excluded.map(({ excluded_by }) => excluded_by))]
    const left = plan.excluded.length > 0 ? `, ${plan.excluded.length} left out: ${reasons.join(', ')}` : ''
    terminal.note(`rule ${plan.rule}${left}`)
    if (plan.refusal)
      terminal.note(`It would be refused: ${plan.refusal.message} (${plan.refusal.code})`, 'yellow')
  },
}
