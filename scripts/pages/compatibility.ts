import type { Catalog, Endpoint, Provider } from '@mesh/catalog/catalog.ts'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import { EXTRAS } from '@mesh/engine/shapes/chat-completions/parameters.ts'
import { REFUSED_PARAMETERS } from '@mesh/engine/shapes/chat-completions/refusals.ts'
import type { chatCompletionBody } from '@mesh/engine/shapes/chat-completions/schema.ts'
import { SHAPES } from '@mesh/engine/shapes/registry.ts'
import { NOT_OFFERED } from '../../apps/router/src/http/unknown-route.ts'
import { page, table } from './markdown.ts'

/** What becomes of each parameter of a chat completion. The compiler sees that none is missing. */
const PARAMETERS: Readonly<Record<keyof typeof chatCompletionBody.shape, string>> = {
  model: "a MESH id, an alias, a mode or a tier; OpenAI's own names are aliases",
  models: "MESH's: who answers when `model` cannot",
  route: "MESH's: `fallback`, or `auto` to have a model chosen",
  provider: "MESH's: who may answer, and in which order",
  privacy: "MESH's: how private the call is to be",
  session_id: "MESH's: calls of one session go the same way where an operator spreads them",
  messages:
    'text, images, PDFs, audio, tool calls and results; what an endpoint cannot take leaves it out of the plan',
  tools: 'functions; hosted and custom tools are refused',
  stream: 'server-sent events',
  stream_options: '`include_usage`: usage comes in a chunk of its own',
  usage: "OpenRouter's `include`: the same",
  max_tokens: 'bounds all output, hidden reasoning too; the lesser of both where both are given',
  max_completion_tokens: 'the same as `max_tokens`',
  n: 'up to 8; each choice is held and charged',
  stop: 'up to 4 sequences',
  temperature: '0 to 2; bounded to what the provider takes',
  top_p: '0 to 1',
  top_k: 'where a provider has it',
  tool_choice: '`none`, `auto`, `required`, one function, `allowed_tools`',
  parallel_tool_calls: '`false`: one call at a time',
  response_format: '`text`, `json_object`, `json_schema`',
  reasoning: '`effort`, `max_tokens`, `exclude`, `enabled`',
  reasoning_effort: 'the same as `reasoning.effort`',
  include_reasoning: '`false` is the same as `reasoning.exclude`',
  metadata: 'stays here, and is not kept; `mesh_simulate` steers test calls',
  user: 'leaves as a keyed hash only',
  safety_identifier: 'leaves as a keyed hash only',
  prompt_cache_key: 'leaves as a keyed hash only',
  frequency_penalty: '-2 to 2',
  presence_penalty: '-2 to 2',
  repetition_penalty: '0 to 2',
  min_p: '0 to 1',
  top_a: '0 to 1',
  seed: 'passed on',
  logit_bias: 'by token of the served model',
  logprobs: 'passed on',
  top_logprobs: 'up to 20',
  verbosity: '`low`, `medium`, `high`',
}

/** What providers are sent, in the words that `Protocol.takes` knows. */
const SENT = [
  'max_tokens',
  'n',
  'stop',
  'temperature',
  'top_p',
  'top_k',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'response_format.json_object',
  'response_format.json_schema',
  'reasoning',
  ...EXTRAS,
  'prompt_cache_key',
]

/** `docs/compatibility.md`. */
export function compatibilityPage(): string {
  const catalog = loadCatalog()
  return page(
    'Compatibility with OpenAI',
    `Unchanged clients that the suite runs against MESH: \`openai\` 6 and 7 in JavaScript, \`openai\` in Python, \`@openai/agents\`, \`@anthropic-ai/sdk\`,
Vercel's AI SDK and LangChain ([clients](clients.md)). What OpenAI has, and what becomes of it here. The rule: nothing that would store, multiply or outsource a call passes by accident, and nothing is
dropped in silence.`,
    '## Routes',
    table(['route', 'here'], [...SHAPES.map(({ path }) => [`POST \`${path}\``, 'yes']), ...routesBeside()]),
    '## Parameters of a chat completion',
    'Where a parameter may be absent it may be `null`. Numbers and texts are bounded as OpenAI bounds them.',
    table(
      ['parameter', 'what becomes of it'],
      Object.entries(PARAMETERS).map(([name, meaning]) => [`\`${name}\``, meaning]),
    ),
    '### Refused',
    'With 400 `unsupported_parameter`, and what to do instead:',
    table(
      ['parameter', 'message'],
      [...REFUSED_PARAMETERS].map(([name, { predicate }]) => [`\`${name}\``, `${name} ${predicate}.`]),
    ),
    '`store` is taken and set to `false`. `prompt_cache_retention`, `prompt_cache_options` and any other member of the body is left out and named in\n`routing.dropped_params`.',
    '## Who takes what',
    `● every chat endpoint of the provider, ◐ some of them, · none. What an endpoint does not take is left out and named in \`routing.dropped_params\`;
with \`provider.require_parameters: true\` such an endpoint is not asked. \`GET /v1/models/{id}/endpoints\` says it for each endpoint. i: in place of a format that an endpoint lacks goes an instruction
(see [JSON](tools-and-json.md#json)).`,
    whoTakesWhat(catalog),
  )
}

function routesBeside(): string[][] {
  return [
    ['GET `/v1/models`, `/v1/models/{id}`', 'yes'],
    ...NOT_OFFERED.map(([prefix, advice]) => [`\`${prefix}\``, `no: ${advice}`]),
  ]
}

function whoTakesWhat({ models, providers }: Catalog): string {
  const endpoints = models.filter(({ kind }) => kind === 'chat').flatMap((model) => model.endpoints)
  const asked = providers.filter(({ id }) => endpoints.some(({ provider }) => provider === id))
  return table(
    ['parameter', ...asked.map(({ id }) => id)],
    SENT.map((name) => [`\`${name}\``, ...asked.map((provider) => cell(name, provider, endpoints))]),
  )
}

function cell(name: string, { id }: Provider, endpoints: readonly Endpoint[]): string {
  const own = endpoints.filter(({ provider }) => provider === id)
  const taking = own.filter((endpoint) => protocolFor(endpoint.protocol)?.takes(endpoint, name) ?? false)
  if (taking.length === own.length) return '●'
  // Every protocol puts an instruction in the place of a format that its endpoint lacks.
  const otherwise = name.startsWith('response_format.') ? 'i' : '·'
  return taking.length === 0 ? otherwise : '◐'
}
