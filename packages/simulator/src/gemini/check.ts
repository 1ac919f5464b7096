import type { Reply } from '../family.ts'
import {
  isGiven,
  isList,
  isObject,
  type Json,
  type JsonObject,
  numberAt,
  objectAt,
  objectsOf,
  textAt,
} from '../json.ts'
import { checkContents } from './check-contents.ts'
import type { GeminiModel } from './models.ts'
import { declarationsOf } from './read.ts'
import { refuse, unknownField } from './refusal.ts'

type Check = (body: JsonObject, name: string, model: GeminiModel) => string | undefined

const fieldsOfBody = fields(
  'contents systemInstruction tools toolConfig safetySettings generationConfig cachedContent store serviceTier',
)
const fieldsOfConfig = fields(
  'stopSequences responseMimeType responseSchema responseJsonSchema responseModalities candidateCount maxOutputTokens ' +
    'temperature topP topK seed presencePenalty frequencyPenalty responseLogprobs logprobs thinkingConfig mediaResolution',
)
const fieldsOfDeclaration = fields(
  'name description behavior parameters parametersJsonSchema response responseJsonSchema',
)
const fieldsOfContent = fields('parts role')
const fieldsOfPart = fields('thought thoughtSignature text inlineData functionCall functionResponse fileData')

function fields(names: string): ReadonlySet<string> {
  return new Set(names.split(' '))
}

const checks: readonly Check[] = [
  checkSampling,
  checkCandidates,
  checkThinking,
  checkFormat,
  checkTools,
  checkToolConfig,
  checkContents,
]

/** What the vendor would find wrong with a request first. */
export function checkRequest(body: JsonObject, name: string, model: GeminiModel): Reply | undefined {
  const unknown = unknownFieldIn(body)
  if (unknown !== undefined) return unknown
  for (const check of checks) {
    const message = check(body, name, model)
    if (message !== undefined) return refuse('INVALID_ARGUMENT', message)
  }
  return undefined
}

/** Google reads a request into its own types before anything else, and knows no other fields. */
function unknownFieldIn(body: JsonObject): Reply | undefined {
  const contents = objectsOf(body.contents)
  const places: readonly (readonly [value: JsonObject, known: ReadonlySet<string>, place: string])[] = [
    [body, fieldsOfBody, ''],
    [objectAt(body, 'generationConfig'), fieldsOfConfig, 'generation_config'],
    ...declarationsOf(body).map(
      (declared, index) =>
        [declared, fieldsOfDeclaration, `tools[0].function_declarations[${index}]`] as const,
    ),
    ...contents.map((content, index) => [content, fieldsOfContent, `contents[${index}]`] as const),
    ...contents.flatMap((content, index) =>
      objectsOf(content.parts).map(
        (part, place) => [part, fieldsOfPart, `contents[${index}].parts[${place}]`] as const,
      ),
    ),
  ]
  for (const [value, known, place] of places) {
    const name = Object.keys(value).find((key) => !known.has(key))
    if (name !== undefined) return unknownField(name, place)
  }
  return undefined
}

const ranges: readonly (readonly [field: string, path: string, min: number, max: number])[] = [
  ['temperature', 'temperature', 0, 2],
  ['topP', 'top_p', 0, 1],
  ['topK', 'top_k', 1, 1_000_000],
]

function checkSampling(body: JsonObject, name: string, model: GeminiModel): string | undefined {
  const config = objectAt(body, 'generationConfig')
  for (const [field, path, min, max] of ranges) {
    const value = config[field]
    if (!isGiven(value) || (typeof value === 'number' && value >= min && value <= max)) continue
    return `* GenerateContentRequest.generation_config.${path}: ${path} must be in the range [${min}, ${max}].\n`
  }
  const bound = config.maxOutputTokens
  if (isGiven(bound) && !isWhole(bound, 1, model.outputTokensMax)) {
    return `Unable to submit request because it has a maxOutputTokens value of ${String(bound)} but the supported range is from 1 (inclusive) to ${model.outputTokensMax + 1} (exclusive). Update the value and try again.`
  }
  if (isGiven(config.seed) && !isWhole(config.seed, -(2 ** 31), 2 ** 31 - 1)) {
    return `Invalid value at 'generation_config.seed' (TYPE_INT32), ${String(config.seed)}`
  }
  if (isList(config.stopSequences) && config.stopSequences.length > 5) {
    return '* GenerateContentRequest.generation_config.stop_sequences: the number of stop sequences must not exceed 5.\n'
  }
  if (
    [config.presencePenalty, config.frequencyPenalty].some((penalty) => isGiven(penalty) && penalty !== 0)
  ) {
    return 'Penalty is not enabled for this model'
  }
  return config.responseLogprobs === true || isGiven(config.logprobs)
    ? `Logprobs is not enabled for models/${name}`
    : undefined
}

function isWhole(value: Json, min: number, max: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}

function checkCandidates(body: JsonObject, _name: string, model: GeminiModel): string | undefined {
  const count = objectAt(body, 'generationConfig').candidateCount
  if (!isGiven(count) || count === 1) return undefined
  if (model.isThirdGeneration) return 'Multiple candidates is not enabled for this model'
  return isWhole(count, 1, 8)
    ? undefined
    : '* GenerateContentRequest.generation_config.candidate_count: candidate_count must be in the range [1, 8].\n'
}

function checkThinking(body: JsonObject, _name: string, model: GeminiModel): string | undefined {
  const thinking = objectAt(objectAt(body, 'generationConfig'), 'thinkingConfig')
  const level = textAt(thinking, 'thinkingLevel').toUpperCase()
  const budget = numberAt(thinking, 'thinkingBudget')
  if (level !== '') {
    if (budget !== undefined) return 'You can only set only one of thinking budget and thinking level.'
    if (model.levels.includes(level)) return undefined
    return model.isThirdGeneration
      ? `Thinking level ${level} is not supported for this model. Please retry with other thinking level.`
      : 'Thinking level is not supported for this model.'
  }
  if (budget === undefined || budget === -1 || model.budget === undefined) return undefined
  const { min, max, canBeOff } = model.budget
  if (budget === 0)
    return canBeOff ? undefined : 'Budget 0 is invalid. This model only works in thinking mode.'
  return budget >= min && budget <= max
    ? undefined
    : `The thinking budget ${budget} is invalid. Please choose a value between ${min} and ${max}.`
}

function checkFormat(body: JsonObject, _name: string, model: GeminiModel): string | undefined {
  const config = objectAt(body, 'generationConfig')
  const isJson = config.responseMimeType === 'application/json'
  if (isGiven(config.responseMimeType) && !isJson && config.responseMimeType !== 'text/plain') {
    return '* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are `text/plain`, `application/json`, `application/xml`, `application/yaml` and `text/x.enum`.\n'
  }
  if (!isJson && (isGiven(config.responseSchema) || isGiven(config.responseJsonSchema))) {
    return '* GenerateContentRequest.generation_config.response_schema: only allowed with a response mime type of `application/json`.\n'
  }
  if (isGiven(config.responseSchema) && isGiven(config.responseJsonSchema)) {
    return 'response_schema and response_json_schema cannot both be set.'
  }
  return isJson && !model.isThirdGeneration && declarationsOf(body).length > 0
    ? "Function calling with a response mime type: 'application/json' is unsupported"
    : undefined
}

function checkTools(body: JsonObject): string | undefined {
  const tools = isObject(body.tools) ? [body.tools] : objectsOf(body.tools)
  const hosted = tools.flatMap((tool) => Object.keys(tool)).find((name) => name !== 'functionDeclarations')
  if (hosted !== undefined) return `The simulator has no hosted tools, and so no ${hosted}.`
  const names = new Set<string>()
  for (const [index, declared] of declarationsOf(body).entries()) {
    const at = `GenerateContentRequest.tools[0].function_declarations[${index}]`
    const name = textAt(declared, 'name')
    if (!/^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$/.test(name)) {
      return `* ${at}.name: Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.\n`
    }
    if (names.has(name)) return `Duplicate function declaration found: ${name}`
    names.add(name)
    if (isGiven(declared.parameters) && isGiven(declared.parametersJsonSchema)) {
      return `* ${at}: parameters and parameters_json_schema cannot both be set.\n`
    }
  }
  return undefined
}

function checkToolConfig(body: JsonObject): string | undefined {
  const calling = objectAt(body, 'toolConfig').functionCallingConfig
  if (!isObject(calling)) return undefined
  const declared = declarationsOf(body)
  if (declared.length === 0) return 'Function calling config is set without function_declarations.'
  const mode = textAt(calling, 'mode')
  if (!['AUTO', 'ANY', 'NONE', 'VALIDATED'].includes(mode)) {
    return `Invalid value at 'tool_config.function_calling_config.mode' (type.googleapis.com/google.ai.generativelanguage.v1beta.FunctionCallingConfig.Mode), "${mode}"`
  }
  if (!isList(calling.allowedFunctionNames)) return undefined
  if (mode !== 'ANY' && mode !== 'VALIDATED') {
    return 'Please set allowed_function_names only when function calling mode is ANY or VALIDATED.'
  }
  const unknown = calling.allowedFunctionNames.find((name) => !declared.some((each) => each.name === name))
  return unknown === undefined
    ? undefined
    : `allowed_function_names contains a function that is not declared: ${String(unknown)}`
}
