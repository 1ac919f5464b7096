import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { testEndpoint } from '../../../test/endpoints.ts'
import { recordedExchanges } from '../../../test/recorded-exchanges.ts'
import { anthropicMessages } from '../../protocols/anthropic-messages.ts'
import { parseMessages } from './request.ts'

/*
 * Requests that Anthropic was really sent, read by this shape and written by the protocol: what comes out says the same
 * as what went in. `sameMeaning` takes out of the record what MESH writes differently on purpose, each with its reason;
 * everything else must be equal, member by member.
 */

type Members = { [member: string]: unknown }

interface Block extends Members {
  type: string
  text?: string
  content?: string | Block[]
}

interface Recorded {
  model: string
  max_tokens: number
  messages: { role: string; content: string | Block[] }[]
  system?: string | Block[]
  tools?: Members[]
  tool_choice?: Members
  thinking?: Members & { type: string }
  output_config?: Members
  cache_control?: Members
  metadata?: Members
  stream?: boolean
}

const STAND_IN = 'a stand-in'

/** A mark without a time means five minutes, which is written out. */
function marked<Marked extends Members>(value: Marked): Marked {
  if (!value.cache_control) return value
  return { ...value, cache_control: { ttl: '5m', ...(value.cache_control as Members) } }
}

/** Texts stand in blocks; blocks without text are left out; that a tool did not fail is not said. */
function blocks(content: string | Block[] | undefined): Block[] {
  const list: Block[] =
    typeof content === 'string' ? [{ type: 'text', text: content }] : structuredClone(content ?? [])
  return list
    .filter(({ type, text }) => type !== 'text' || text?.trim() !== '')
    .map((block) => {
      if (block.type !== 'tool_result') return marked(block)
      const { is_error, content: inside, ...rest } = block
      const content = blocks(inside)
      return marked({ ...rest, content, ...(is_error === true ? { is_error } : {}) }) as Block
    })
}

/** The record as MESH means to write it. */
function sameMeaning(recorded: Recorded): Members {
  const { metadata, cache_control: wholeMark, thinking, output_config: config, ...rest } = recorded
  // What the system says within a conversation goes to the system prompt, which every model knows.
  const inline = recorded.messages.filter(({ role }) => role === 'system')
  const system = [...blocks(recorded.system), ...inline.flatMap(({ content }) => blocks(content))]
  const messages: { role: string; content: Block[] }[] = []
  for (const { role, content } of recorded.messages.filter((message) => message.role !== 'system')) {
    const last = messages.at(-1)
    if (last?.role === role) last.content.push(...blocks(content))
    else messages.push({ role, content: blocks(content) })
  }
  // The mark of the whole prompt stands on its last block.
  const end = messages.at(-1)?.content.at(-1)
  if (wholeMark && end && !end.cache_control) end.cache_control = { ttl: '5m', ...wholeMark }
  // Adaptive thinking is asked to show itself, and how hard it is by default is said.
  const adaptive = thinking?.type === 'adaptive'
  const outputConfig = { ...(adaptive ? { effort: 'high' } : {}), ...config }
  return {
    ...rest,
    messages,
    ...(system.length > 0 ? { system } : {}),
    ...(recorded.tools ? { tools: recorded.tools.map(toolOf) } : {}),
    ...(thinking ? { thinking: { ...thinking, ...(adaptive ? { display: 'summarized' } : {}) } } : {}),
    ...(Object.keys(outputConfig).length > 0 ? { output_config: outputConfig } : {}),
    // Who the end user is leaves as a stand-in only.
    ...(metadata?.user_id ? { metadata: { user_id: STAND_IN } } : {}),
    stream: recorded.stream ?? false,
  }
}

/** `strict` is said where it is wanted; members of hosted tools are not passed on. */
function toolOf({ defer_loading: _, type: _type, strict, ...tool }: Members): Members {
  return marked({ ...tool, ...(strict === true ? { strict } : {}) })
}

/** Members that are null say nothing. */
function withoutNulls(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, member) => (member === null ? undefined : member)))
}

/** An endpoint of the record's model that takes everything: what a model lacks is the catalogue's to say. */
function endpointFor(model: string): Endpoint {
  return testEndpoint({
    provider: 'anthropic',
    upstreamModel: model,
    protocol: 'anthropic_messages',
    reasoningOptions: [
      { type: 'effort', values: ['low', 'medium', 'high', 'xhigh', 'max'] },
      { type: 'budget_tokens', min: 1_024 },
      { type: 'toggle' },
    ],
  })
}

test('every recorded request comes out as it went in, or is refused for what it asks', (t) => {
  const exchanges = recordedExchanges('/v1/messages')?.filter(({ provider }) => provider === 'anthropic')
  if (!exchanges) return t.skip('SKIPPED: the recorded exchanges are not beside this project')
  const refused = new Map<string, number>()
  const wrong: string[] = []
  let same = 0
  for (const { file, requestBody: request } of exchanges) {
    const parsed = parseMessages(request, { pseudonym: () => STAND_IN })
    if (!parsed.ok) {
      const what = `${parsed.code}: ${parsed.message.replace(/\[\d+\]/g, '[]')}`
      refused.set(what, (refused.get(what) ?? 0) + 1)
      // What is refused must be refused for a hosted tool or its like, not for want of understanding.
      if (parsed.code !== 'unsupported_parameter') wrong.push(`${file}: ${parsed.message}`)
      continue
    }
    const recorded = withoutNulls(request) as Recorded
    const endpoint = endpointFor(recorded.model)
    const { ask } = parsed.request
    const { body } = anthropicMessages.encode(ask, endpoint, { stream: ask.stream })
    try {
      assert.deepEqual(JSON.parse(body), sameMeaning(recorded))
      same += 1
    } catch (error) {
      wrong.push(`${file}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  const isRefused = [...refused.values()].reduce((sum, count) => sum + count, 0)
  t.diagnostic(`re-encoded ${same} of ${exchanges.length - isRefused} requests; ${isRefused} refused:`)
  for (const [what, count] of refused) t.diagnostic(`  ${count} × ${what}`)
  assert.deepEqual(wrong, [])
  assert.ok(same > 0)
})
