import type { FastifySchemaCompiler, FastifyTypeProvider } from 'fastify'
import { z } from 'zod'
import { MeshError } from '../errors.ts'

/** Types of a route's body, query and parameters from its zod schemas. */
export interface ZodTypeProvider extends FastifyTypeProvider {
  readonly validator: this['schema'] extends z.ZodType ? z.output<this['schema']> : unknown
}

/** Lets Fastify validate with zod. What a schema refuses is answered with 400 `invalid_request`. */
export const zodValidatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema }) => {
  return (data: unknown) => {
    const parsed = schema.safeParse(data)
    return parsed.success ? { value: parsed.data } : { error: invalidRequest(schema, parsed.error) }
  }
}

/**
 * The first fault of a body as an error. zod's messages and paths quote the caller's own property names, so only
 * names that the schema itself knows are shown.
 */
function invalidRequest(schema: z.ZodType, error: z.ZodError): MeshError {
  const [issue] = error.issues
  if (!issue) return new MeshError('invalid_request', 'The request is not valid.')
  const { path, fields } = knownPath(schema, issue.path)
  const where = path === '' ? 'The request' : path
  const param = path === '' ? {} : { param: path }
  if (issue.code === 'unrecognized_keys') {
    const known = fields.length === 0 ? 'It takes none.' : `It takes ${fields.join(', ')}.`
    return new MeshError('invalid_request', `${where} holds a field that MESH does not know. ${known}`, param)
  }
  return new MeshError('invalid_request', `${where}: ${describeIssue(issue)}`, param)
}

function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key' || issue.code === 'invalid_element' || issue.code === 'invalid_union') {
    return 'This is not a value that MESH takes here.'
  }
  return issue.message.endsWith('.') ? issue.message : `${issue.message}.`
}

/** Follows a path for as long as the schema names its parts: `limits.allowedModels[2]`. */
function knownPath(
  schema: z.ZodType,
  path: readonly PropertyKey[],
): { path: string; fields: readonly string[] } {
  let at: z.core.$ZodType = unwrap(schema)
  let text = ''
  for (const part of path) {
    if (at instanceof z.ZodObject && typeof part === 'string' && Object.hasOwn(at.shape, part)) {
      text += text === '' ? part : `.${part}`
      at = unwrap(at.shape[part])
    } else if (at instanceof z.ZodArray && typeof part === 'number') {
      text += `[${part}]`
      at = unwrap(at.element)
    } else {
      return { path: text, fields: [] }
    }
  }
  return { path: text, fields: at instanceof z.ZodObject ? Object.keys(at.shape) : [] }
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodReadonly
  ) {
    return unwrap(schema.unwrap())
  }
  if (schema instanceof z.ZodPipe) {
    return unwrap(schema.in instanceof z.ZodTransform ? schema.out : schema.in)
  }
  return schema
}
