/** What the simulator knows of a Claude model. Sources: Anthropic's model pages, recorded exchanges, the catalogue. */
export interface ClaudeModel {
  readonly contextTokens: number
  readonly outputTokensMax: number
  /** The levels of `output_config.effort`; none where the parameter itself is refused. */
  readonly efforts: readonly string[]
  readonly takesSampling: boolean
  readonly takesThinkingBudget: boolean
  readonly takesAdaptiveThinking: boolean
  readonly thinksUnasked: boolean
  readonly takesPrefill: boolean
  /** Takes system messages in the middle of a conversation. */
  readonly takesInlineSystem: boolean
  /** Whether the text of its thinking shows where the request does not say. */
  readonly showsThinking: boolean
}

/** `undefined` for a name that is no Claude model's. */
export function claudeModel(name: string): ClaudeModel | undefined {
  const current = /^claude-([a-z]+)-(\d+)(?:-(\d{1,2}))?(?:-\d{8})?$/.exec(name)
  const former = /^claude-(\d+)(?:-(\d{1,2}))?-([a-z]+)(?:-(?:\d{8}|latest))?$/.exec(name)
  if (current === null && former === null) return undefined
  const tier = current?.[1] ?? former?.[3] ?? ''
  const version = Number(`${current?.[2] ?? former?.[1]}.${current?.[3] ?? former?.[2] ?? '0'}`)
  const large = version >= 4.7 || (tier === 'opus' && version >= 4.6)
  return {
    contextTokens: version >= 4.6 ? 1_000_000 : 200_000,
    outputTokensMax: version < 3.7 ? 8_192 : large ? 128_000 : 64_000,
    efforts: effortsOf(version),
    takesSampling: version < 4.7,
    takesThinkingBudget: version >= 3.7 && version < 4.7,
    takesAdaptiveThinking: version >= 4.6,
    thinksUnasked: version >= 5,
    takesPrefill: version < 4.6,
    takesInlineSystem: version >= 4.8,
    showsThinking: version < 4.7,
  }
}

function effortsOf(version: number): readonly string[] {
  if (version < 4.6) return []
  return version < 4.7 ? ['high', 'low', 'max', 'medium'] : ['high', 'low', 'max', 'medium', 'xhigh']
}
