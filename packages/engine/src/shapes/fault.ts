import type * as z from 'zod'

/** What is wrong with a request. `message` and `param` are made of the API's own names and of indexes alone. */
export interface RequestFault {
  readonly ok: false
  readonly code: 'invalid_request' | 'unsupported_parameter'
  readonly message: string
  readonly param?: string
}

export type FaultPath = readonly PropertyKey[]

/** Objects whose property names are the caller's own: a path is cut behind them. */
const CALLER_NAMED: ReadonlySet<PropertyKey> = new Set(['metadata', 'logit_bias'])

/** `messages[3].content[0].text`, without any name that the caller chose. */
function formatPath(path: FaultPath): string {
  let text = ''
  for (const step of path) {
    text += typeof step === 'number' ? `[${step}]` : `${text === '' ? '' : '.'}${String(step)}`
    if (CALLER_NAMED.has(step)) break
  }
  return text
}

export function fault(code: RequestFault['code'], path: FaultPath, predicate: string): RequestFault {
  const param = formatPath(path)
  if (param === '') return { ok: false, code, message: `The request ${predicate}.` }
  return { ok: false, code, message: `${param} ${predicate}.`, param }
}

/** The first thing that a schema found wrong, said without zod's messages: those quote the request. */
export function faultOfIssue(error: z.ZodError, prefix: FaultPath): RequestFault {
  const issue = error.issues[0]
  if (!issue) return fault('invalid_request', prefix, 'is not valid')
  const deepest = deepestIssue(issue, prefix)
  return fault('invalid_request', deepest.path, predicateOf(deepest.issue))
}

/** In a union, the branch that the value comes closest to is the one that looked furthest into it. */
function deepestIssue(
  issue: z.core.$ZodIssue,
  prefix: FaultPath,
): { readonly issue: z.core.$ZodIssue; readonly path: FaultPath } {
  const path = [...prefix, ...issue.path]
  if (issue.code !== 'invalid_union') return { issue, path }
  for (const branch of issue.errors) {
    const first = branch[0]
    if (first && (first.path.length > 0 || first.code !== 'invalid_type')) return deepestIssue(first, path)
  }
  return { issue, path }
}

function predicateOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${withArticle(issue.expected)}`
    case 'too_big':
      return `must ${boundOf(issue.origin, 'at most', String(issue.maximum))}`
    case 'too_small':
      return `must ${boundOf(issue.origin, 'at least', String(issue.minimum))}`
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`
    case 'invalid_union':
      return predicateOfUnion(issue)
    case 'unrecognized_keys':
      return 'has a member that MESH does not know'
    case 'invalid_key':
    case 'invalid_element':
      return 'has a name or a value that is too long or of the wrong form'
    case 'invalid_format':
      return issue.message.startsWith('must ') ? issue.message : 'does not have the right form'
    case 'custom':
      return issue.message
    default:
      return 'is not valid'
  }
}

function predicateOfUnion(issue: z.core.$ZodIssueInvalidUnion): string {
  if ('options' in issue && Array.isArray(issue.options)) {
    return `must be one of ${issue.options.map(String).join(', ')}`
  }
  const expected = new Set<string>()
  for (const [first] of issue.errors) {
    if (first?.code === 'invalid_type') expected.add(withArticle(first.expected))
    if (first?.code === 'invalid_value') expected.add(`one of ${first.values.map(String).join(', ')}`)
  }
  return expected.size === 0 ? 'is not valid' : `must be ${[...expected].join(' or ')}`
}

function withArticle(type: string): string {
  const word = type === 'int' ? 'integer' : type
  return `${/^[aeiou]/.test(word) ? 'an' : 'a'} ${word}`
}

function boundOf(origin: string, word: string, bound: string): string {
  const plural = bound === '1' ? '' : 's'
  if (origin === 'string') return `have ${word} ${bound} character${plural}`
  if (origin === 'array' || origin === 'set') return `have ${word} ${bound} item${plural}`
  return `be ${word} ${bound}`
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
