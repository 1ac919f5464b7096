import { type Json, type JsonObject, openApiDocument } from '../openapi/document.ts'
import { page, table } from './markdown.ts'

interface Reference {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>
  readonly tags: readonly { readonly name: string }[]
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

interface Described {
  readonly tags: readonly string[]
  readonly summary: string
  readonly description?: string
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[]
  readonly requestBody?: { readonly content: Content }
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content: Content }>>
}

type Content = Readonly<Record<string, { readonly schema: Schema; readonly example?: JsonObject }>>

/** As much of JSON Schema as the document has. */
interface Schema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly const?: Json
  readonly enum?: readonly Json[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly description?: string
  readonly default?: Json
}

/** A longer list of values says no more than that it is a text. */
const ENUM_SHOWN_MAX = 8

/** `docs/api-reference.md`, from the same document that `/openapi.json` serves. */
export async function apiReferencePage(): Promise<string> {
  const { paths, tags, components } = (await openApiDocument()) as unknown as Reference
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => ({
      title: `${method.toUpperCase()} ${path}`,
      described,
    })),
  )
  return page(
    'API reference',
    `Every route of the router. \`GET /openapi.json\` has the same for programs (OpenAPI 3.1). Keys go into \`Authorization: Bearer …\`; times are
RFC 3339 in UTC; amounts are decimal strings in USD. Lists take \`limit\` (1 to 100) and \`cursor\`, and answer \`{data, next_cursor}\`, the newest
first. Errors are explained in [errors](errors.md).`,
    ...tags.flatMap(({ name }) => [
      `## ${name}`,
      ...operations
        .filter(({ described }) => described.tags.includes(name))
        .map(({ title, described }) => operationText(title, described)),
    ]),
    '## Objects',
    'What is answered. More members may come: take no offence at what you do not know.',
    ...Object.entries(components.schemas)
      .filter(([name]) => !name.endsWith('Request') && !name.endsWith('Page'))
      .map(([name, schema]) => `### ${name}\n\n${membersTable(schema)}`),
  )
}

function operationText(title: string, described: Described): string {
  const { summary, description, parameters, requestBody, responses } = described
  const query = parameters.filter((parameter) => parameter.in !== 'path')
  const json = requestBody?.content['application/json']
  const body = json && resolved(json.schema)
  return [
    `### ${title}`,
    `${summary}.${description === undefined ? '' : ` ${description}`}`,
    ...(query.length > 0
      ? [
          table(
            ['parameter', 'in', 'value'],
            query.map((each) => [`\`${each.name}\``, each.in, typeOf(each.schema)]),
          ),
        ]
      : []),
    ...(body ? [body] : []),
    ...(json?.example ? [`\`\`\`json\n${JSON.stringify(json.example, null, 2)}\n\`\`\``] : []),
    `Answers ${answersText(responses)}.`,
  ].join('\n\n')
}

/** A body that is written here has its members in a table; one with a name is explained by its own page. */
function resolved(schema: Schema): string {
  if (schema.$ref !== undefined) return `Body: \`${nameOf(schema.$ref)}\` of \`/openapi.json\`.`
  return membersTable(schema)
}

function answersText(responses: Described['responses']): string {
  const [[status, good] = ['200', undefined], ...errors] = Object.entries(responses)
  const forms = Object.entries(good?.content ?? {}).map(([mediaType, { schema }]) =>
    schema.$ref === undefined ? `\`${mediaType}\`` : typeOf(schema),
  )
  const codes = errors.map(([, { description }]) => description).join(', ')
  return `${status} with ${forms.join(' or ')}; or ${codes}`
}

function membersTable(schema: Schema): string {
  if (!schema.properties) return typeOf(schema)
  const rows = Object.entries(schema.properties).map(([name, member]) => [
    `\`${name}\``,
    typeOf(member),
    schema.required?.includes(name) ? '' : 'may be absent',
    member.description ?? '',
  ])
  return table(['member', 'value', '', 'meaning'], rows)
}

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return link(nameOf(schema.$ref))
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``
  if (schema.enum) {
    return schema.enum.length > ENUM_SHOWN_MAX
      ? `one of ${schema.enum.length} words`
      : schema.enum.map((value) => `\`${String(value)}\``).join(', ')
  }
  const choices = schema.anyOf ?? schema.oneOf
  if (choices) return [...new Set(choices.map(typeOf))].join(' or ')
  if (schema.type === 'array') return schema.items ? `list of ${typeOf(schema.items)}` : 'list'
  if (schema.type === 'object' && schema.properties) {
    return `object: ${Object.keys(schema.properties)
      .map((name) => `\`${name}\``)
      .join(', ')}`
  }
  return [schema.type ?? 'anything'].flat().join(' or ')
}

function nameOf(reference: string): string {
  return reference.slice(reference.lastIndexOf('/') + 1)
}

/** Pages of a list are explained by what is in them. */
function link(name: string): string {
  const shown = name.replace(/Page$/, '')
  const target = `[${shown}](#${shown.toLowerCase()})`
  return shown === name ? target : `a page of ${target}`
}
