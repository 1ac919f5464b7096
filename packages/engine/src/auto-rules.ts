import type { ModelId } from '@mesh/catalog/catalog.ts'
import type { AskShape } from './ask.ts'
import { usualInputTokens } from './input-estimate.ts'

/** One row of the table by which the mode `auto` chooses. */
export interface AutoRule {
  readonly id: `auto.${string}`
  /** When it applies, in words. */
  readonly when: string
  /** The tiers whose models come before all others. */
  readonly prefers: readonly ModelId[]
  applies(shape: AskShape): boolean
}

/** From here on a budget for thinking says that the task is hard: what providers map effort `high` to. */
const HARD_REASONING_TOKENS = 16_384
/** Beyond this, small models lose what stands in the middle: "Lost in the Middle", https://arxiv.org/abs/2307.03172 */
const LONG_INPUT_TOKENS = 32_768
const HARD_EFFORTS: ReadonlySet<string> = new Set(['high', 'xhigh', 'max'])

/**
 * The first row that applies decides. Among what a rule prefers, and then among what is left, the cheapest that can do
 * what the call asks for comes first: a rule prefers and never refuses. No row looks at content.
 */
export const AUTO_RULES: readonly AutoRule[] = [
  {
    id: 'auto.reasoning',
    when: `reasoning with effort high or more, or a budget of ${HARD_REASONING_TOKENS} tokens or more`,
    prefers: ['mesh/pro'],
    applies: ({ reasoning }) =>
      HARD_EFFORTS.has(reasoning?.effort ?? '') || (reasoning?.maxTokens ?? 0) >= HARD_REASONING_TOKENS,
  },
  {
    id: 'auto.tools',
    when: 'tools, or an answer by a JSON schema',
    prefers: ['mesh/balanced', 'mesh/pro'],
    applies: ({ parameters }) =>
      parameters.includes('tools') || parameters.includes('response_format.json_schema'),
  },
  {
    id: 'auto.long_input',
    when: `about ${LONG_INPUT_TOKENS} tokens of input or more`,
    prefers: ['mesh/balanced', 'mesh/pro'],
    applies: ({ inputTokensBound }) =>
      usualInputTokens(inputTokensBound, Number.MAX_SAFE_INTEGER) >= LONG_INPUT_TOKENS,
  },
  {
    id: 'auto.plain',
    when: 'everything else',
    prefers: ['mesh/swift', 'mesh/balanced'],
    applies: () => true,
  },
]

/** The row for a call. */
export function autoRuleFor(shape: AskShape): AutoRule {
  const rule = AUTO_RULES.find(({ applies }) => applies(shape))
  if (!rule) throw new Error('the last rule of auto applies to every call')
  return rule
}
