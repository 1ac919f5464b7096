/**
 * Writes the pages of `docs/` that are made from the code's own tables: `npm run docs`. A test fails
 * where a page is not what it would write.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { formatPricePerMillion, formatUsd } from '@mesh/catalog/money.ts'
import { promptCachingOf } from '@mesh/engine/prompt-caches.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import { USAGE_FLAGS } from '@mesh/engine/stream-event.ts'
import { z } from 'zod'
import { ERRORS } from '../apps/router/src/errors.ts'
import { LABELS } from '../apps/router/src/metrics/labels.ts'
import { METRIC_NAMES, specOf } from '../apps/router/src/metrics/metric-table.ts'
import { SERIES_MAX } from '../apps/router/src/metrics/series-bound.ts'
import { policySchema } from '../apps/router/src/policy.ts'
import { BILLING_REASONS } from '../apps/router/src/records/billing-reason.ts'
import { baseUrlVariable, VARIABLES } from '../apps/router/src/settings.ts'
import quality from '../packages/catalog/data/quality.json' with { type: 'json' }
import { openApiDocument } from './openapi/document.ts'
import { apiReferencePage } from './pages/api-reference.ts'
import { cliPage } from './pages/cli.ts'
import { compatibilityPage } from './pages/compatibility.ts'
import { llmsText } from './pages/llms.ts'
import { page, table } from './pages/markdown.ts'
import { priceSections, priceSources } from './pages/prices.ts'
import { sdkBillingReasons, sdkErrorCodes } from './pages/sdk-tables.ts'

const ROOT = join(import.meta.dirname, '..')

const pages: Readonly<Record<string, () => string | Promise<string>>> = {
  'docs/errors.md': errorsPage,
  'docs/billing-reasons.md': billingReasonsPage,
  'docs/settings.md': settingsPage,
  'docs/models.md': modelsPage,
  'docs/metrics.md': metricsPage,
  'docs/compatibility.md': compatibilityPage,
  'docs/cli.md': cliPage,
  'packages/sdk/src/error-codes.ts': sdkErrorCodes,
  'packages/sdk/src/billing-reasons.ts': sdkBillingReasons,
  'docs/api-reference.md': apiReferencePage,
  'docs/openapi.json': async () => `${JSON.stringify(await openApiDocument(), null, 1)}\n`,
  // Last, for it quotes the others.
  'docs/llms.txt': llmsText,
}

const HANDLING_ERRORS = `## Handling them
Switch on \`code\`; messages are for people, and change. In OpenAI's SDKs it is \`error.code\`, and \`metadata\` is in the body:
\`\`\`js
import OpenAI from 'openai'

const client = new OpenAI({ baseURL: 'http://localhost:8787/v1', apiKey: process.env.MESH_API_KEY })
const ask = (body) => client.chat.completions.create({ messages: [{ role: 'user', content: 'hello' }], ...body })

await ask({ model: 'mesh/gpt-5-mimi' }).catch(({ status, code, error }) => console.log(status, code, error.metadata.nearest[0]))
await ask({ model: 'mesh/gpt-5-mini', background: true }).catch(({ status, code, param }) => console.log(status, code, param))
await ask({ model: 'mesh/gpt-5-mini', provider: { only: ['groq'] } }).catch(({ status, code, error }) => console.log(status, code, error.metadata.excluded_by))
\`\`\`
\`\`\`text output
404 model_not_found mesh/gpt-5-mini
400 unsupported_parameter background
404 no_endpoint [ 'provider_only' ]
\`\`\`
In Python it is \`error.code\` too, and the body is \`error.body\`. A test key can call every failure of a provider forth:
\`\`\`python
import os
import openai

client = openai.OpenAI(base_url="http://localhost:8787/v1", api_key=os.environ["MESH_API_KEY"], max_retries=0)
for fault in ["rate_limit", "server_error", "malformed"]:
    try:
        client.chat.completions.create(
            model="mesh/gpt-5-mini",
            messages=[{"role": "user", "content": "hello"}],
            extra_body={"metadata": {"mesh_simulate": fault}},
        )
    except openai.APIStatusError as error:
        print(fault, error.status_code, error.code)
\`\`\`
\`\`\`text output
rate_limit 503 provider_overloaded
server_error 502 provider_error
malformed 502 provider_error
\`\`\`
\`metadata.attempts\` says who was asked and what became of it. On \`/v1/messages\` errors have [Anthropic's envelope](messages.md) around the same codes.`

const SEEING_A_REASON = `## Seeing one
\`\`\`sh
curl -s http://localhost:8787/v1/chat/completions -H "Authorization: Bearer $MESH_API_KEY" -H 'Content-Type: application/json' \\
  -d '{"model": "mesh/claude-sonnet-4.5", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}],
       "metadata": {"mesh_simulate": "tokens=200"}}' > answer.json
curl -s "http://localhost:8787/v1/logs?limit=1" -H "Authorization: Bearer $MESH_API_KEY"
\`\`\`
\`\`\`json output
{ "data": [{ "billingReason": "truncated_by_length", "finishReason": "length", "tokens": { "output": 5 }, "cost": { "totalUsd": "0.000097650" } }] }
\`\`\`
A call that nobody could serve costs nothing, and says so:
\`\`\`sh
curl -s http://localhost:8787/v1/chat/completions -H "Authorization: Bearer $MESH_API_KEY" -H 'Content-Type: application/json' \\
  -d '{"model": "mesh/claude-sonnet-4.5", "messages": [{"role": "user", "content": "hello"}], "metadata": {"mesh_simulate": "overloaded"}}' > answer.json
curl -s "http://localhost:8787/v1/logs?limit=1" -H "Authorization: Bearer $MESH_API_KEY"
\`\`\`
\`\`\`json output
{ "data": [{ "billingReason": "upstream_error_not_billed", "errorCode": "provider_overloaded", "cost": { "totalUsd": "0.000000000" } }] }
\`\`\``

function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(([code, { status, type, retry, meaning }]) => [
    `\`${code}\``,
    String(status),
    type,
    retry ? 'yes' : 'no',
    meaning,
  ])
  return page(
    'Errors',
    `Every error has OpenAI's envelope: \`{"error": {"message", "type", "code", "param", "metadata"?}}\`. \`message\` says what to do and
never quotes the request. Where a retry cannot help, or could cost twice, the answer carries \`x-should-retry: false\`, which
OpenAI's SDKs obey. A stream that has begun ends with a chunk that has a top-level \`error\` instead.`,
    table(['code', 'status', 'type', 'retry', 'meaning'], rows),
    HANDLING_ERRORS,
  )
}

function billingReasonsPage(): string {
  const rows = Object.entries(BILLING_REASONS).map(([reason, meaning]) => [`\`${reason}\``, meaning])
  return page(
    'Billing reasons',
    'Every event and every receipt says why its call cost what it cost.',
    table(['billingReason', 'meaning'], rows),
    SEEING_A_REASON,
    '## Usage flags',
    "An event's `usageFlags` say what was wrong with its provider's numbers. What is charged then: docs/decisions/0010-what-of-a-report-is-believed.md.",
    table(
      ['usageFlags', 'meaning'],
      Object.entries(USAGE_FLAGS).map(([flag, meaning]) => [`\`${flag}\``, meaning]),
    ),
  )
}

function settingsPage(): string {
  const variables = VARIABLES.map((variable) => [
    `\`${variable.name}\``,
    variable.meaning,
    'default' in variable ? `\`${variable.default}\`` : '',
  ])
  const providers = loadCatalog().providers.map(({ id, name, credentialVariable, baseUrl }) => [
    name,
    `\`${credentialVariable}\``,
    `\`${baseUrlVariable(id)}\``,
    `\`${baseUrl}\``,
  ])
  return page(
    'Settings',
    'Settings are read from the environment at start. Each secret may also be given as a file, `NAME_FILE`. An unknown `MESH_` variable\ngives a warning with the nearest known name.',
    table(['variable', 'meaning', 'default'], variables),
    '## Providers',
    table(['provider', 'credential', 'another host', 'default host'], providers),
    '## The policy file',
    '`MESH_SETTINGS` names a JSON file. Every key has a default; an unknown key, or a wrong value, stops the start.',
    table(['key', 'meaning', 'default'], policyRows()),
  )
}

function policyRows(): string[][] {
  const defaults: Readonly<Record<string, Readonly<Record<string, unknown>>>> = policySchema.parse({})
  return Object.entries(policySchema.shape).flatMap(([section, schema]) => {
    const inner = schema.unwrap()
    return Object.entries(inner.shape).map(([key, field]) => {
      const preset = defaults[section]?.[key]
      const shown = JSON.stringify(typeof preset === 'bigint' ? formatUsd(preset) : preset)
      return [`\`${section}.${key}\``, z.globalRegistry.get(field)?.description ?? '', `\`${shown}\``]
    })
  })
}

function modelsPage(): string {
  const catalog = loadCatalog()
  const rows = catalog.models.flatMap((model) =>
    model.endpoints.map((endpoint) => [
      `\`${model.id}\``,
      endpoint.provider,
      String(endpoint.contextTokens),
      String(endpoint.outputTokensMax),
      formatPricePerMillion(endpoint.prices.rates.input),
      formatPricePerMillion(endpoint.prices.rates.output),
      protocolFor(endpoint.protocol) ? 'yes' : `not yet (${endpoint.protocol})`,
    ]),
  )
  return page(
    'Models',
    `${catalog.models.length} models at ${catalog.providers.length} providers, ${rows.length} endpoints. Prices are the providers' list prices in USD per million tokens;
the mark-up is added by policy. The source stands beside each price in \`packages/catalog/data\`: ${priceSources()}. Catalogue version \`${catalog.version}\`.`,
    table(['model', 'provider', 'context', 'most output', 'input', 'output', 'available'], rows),
    ...priceSections(),
    '## Prompt caches',
    'What providers do with the beginnings of prompts, for all calls of one provider account, and so of all accounts of MESH. What follows from it: [routing](routing.md#prompt-caches).',
    table(['provider', 'caches', 'accounts of MESH', 'source'], promptCacheRows(catalog)),
    '## Tiers',
    'Names that stand for several models: see [routing](routing.md).',
    table(
      ['tier', 'what it is for', 'models, and why'],
      catalog.tiers.map(({ id, description, models }) => [
        `\`${id}\``,
        description,
        models.map(({ model, why }) => `\`${model}\`: ${why}`).join('<br>'),
      ]),
    ),
    '## Ratings',
    `What the mode \`best\` orders by: ${quality.scale} Models that nobody has rated come after those, by their list price.`,
    table(
      ['model', 'rating', 'source', 'date'],
      [...catalog.models]
        .sort((a, b) => (b.quality?.score ?? 0) - (a.quality?.score ?? 0) || (a.id < b.id ? -1 : 1))
        .map(({ id, quality: rating }) => [
          `\`${id}\``,
          String(rating?.score ?? '–'),
          rating?.source ?? '',
          rating?.date ?? '',
        ]),
    ),
  )
}

const CACHING_IN_WORDS = {
  unasked: 'unasked',
  when_asked: 'when the call asks for it',
  never: 'nothing',
} as const

/** One line a provider, and more where its models differ. */
function promptCacheRows({ models }: ReturnType<typeof loadCatalog>): string[][] {
  const rows = models.flatMap(({ endpoints }) =>
    endpoints
      .filter(({ outputTokensMax }) => outputTokensMax > 0)
      .map((endpoint) => {
        const { begins, accountField, source } = promptCachingOf(endpoint)
        const apart = accountField === undefined ? 'share it' : `kept apart by \`${accountField}\``
        return [endpoint.provider, CACHING_IN_WORDS[begins], apart, source]
      }),
  )
  return [...new Map(rows.map((row) => [row.join(), row])).values()].sort((a, b) =>
    a.join() < b.join() ? -1 : 1,
  )
}

function metricsPage(): string {
  const metrics = METRIC_NAMES.map((name) => {
    const { type, labels, help, buckets } = specOf(name)
    const shown = buckets ? `${type} (up to ${buckets.join(', ')})` : type
    return [`\`${name}\``, shown, labels.map((label) => `\`${label}\``).join(', '), help]
  })
  return page(
    'Metrics',
    `\`GET /metrics\` answers in the text format of Prometheus, and in OpenMetrics where \`Accept\` likes that better. It wants an operator
key (\`Authorization: Bearer …\`), or \`MESH_ADMIN_PORT\`; see [running](running.md#watching). With several workers, a scrape of any of them shows the whole machine.

No metric has an id of an account, key or call in it, or anything that a caller wrote: every label has a closed set of values, and what is not in it
is shown as \`other\`. So there are never more than ${SERIES_MAX} series, and far fewer in use: a series begins with its first value.

Calls are counted when their settlement is in the books, so \`mesh_calls_total\` and the amounts say what the ledger says of this process's calls. Amounts are
floats for graphs; bills are made from the ledger alone.`,
    table(['metric', 'type', 'labels', 'meaning'], metrics),
    '## Labels',
    table(
      ['label', 'values'],
      Object.entries(LABELS).map(([label, meaning]) => [`\`${label}\``, meaning]),
    ),
  )
}

/** The pages that are not what the code would write. */
export async function stalePages(): Promise<string[]> {
  const stale: string[] = []
  for (const [path, write] of Object.entries(pages)) {
    const written = existsSync(join(ROOT, path)) ? readFileSync(join(ROOT, path), 'utf8') : undefined
    if (written !== (await write())) stale.push(path)
  }
  return stale
}

if (import.meta.main) {
  for (const [path, write] of Object.entries(pages)) writeFileSync(join(ROOT, path), await write())
}
