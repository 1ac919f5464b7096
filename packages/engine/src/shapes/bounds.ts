/**
 * How much of everything a chat completion may hold. The bytes of a body are bounded before it is parsed; these bound
 * what the bytes can be turned into. Where OpenAI publishes a bound it is OpenAI's, so that a call that runs there
 * runs here.
 */
export const CHAT_BOUNDS = {
  /** Arrays and objects inside one another, from the body itself down. JSON Schemas in use stay below 40. */
  nestingMax: 128,
  /** Values in the whole body. A megabyte of ordinary conversation has some ten thousand. */
  valuesMax: 250_000,
  /** Members of any one array or object. */
  membersMax: 20_000,
  /**
   * Text in the whole body, names included and media in base64 not, in UTF-8. The largest context window of any model
   * (3.5 million tokens) holds less of ordinary text.
   */
  textBytesMax: 16 * 1024 * 1024,
  messagesMax: 10_000,
  /** Parts of one message. */
  partsMax: 2_000,
  /** Content parts, tool calls and reasoning blocks of all messages together. */
  partsInAllMax: 50_000,
  imagesMax: 256,
  filesMax: 16,
  toolsMax: 512,
  toolCallsMax: 512,
  toolCallIdCharactersMax: 256,
  toolNameCharactersMax: 64,
  descriptionCharactersMax: 65_536,
  participantNameCharactersMax: 64,
  /** OpenAI's bound. */
  stopSequencesMax: 4,
  stopCharactersMax: 1_024,
  /** Each choice is held and charged in full. */
  choicesMax: 8,
  outputTokensMax: 10_000_000,
  topLogprobsMax: 20,
  logitBiasMax: 1_024,
  modelsMax: 16,
  modelCharactersMax: 256,
  providersMax: 32,
  providerCharactersMax: 64,
  urlCharactersMax: 8_192,
  filenameCharactersMax: 256,
  reasoningBlocksMax: 2_000,
  metadataPairsMax: 16,
  metadataKeyCharactersMax: 64,
  metadataValueCharactersMax: 512,
  endUserCharactersMax: 512,
  cacheKeyCharactersMax: 512,
  sessionIdCharactersMax: 256,
  /** Unknown parameters that are named in `routing.dropped_params`; the rest are counted. */
  droppedParametersNamedMax: 32,
} as const
