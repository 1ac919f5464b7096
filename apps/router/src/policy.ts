import { readFileSync } from 'node:fs'
import { formatUsd, parseUsd } from '@mesh/catalog/money.ts'
import { catalogOverlay } from '@mesh/catalog/overlay.ts'
import { DEFAULT_ANSWER_BOUNDS } from '@mesh/engine/protocol.ts'
import { RESPONSE_BYTES_MAX, RESPONSE_HEADER_BYTES_MAX } from '@mesh/engine/transport.ts'
import { z } from 'zod'
import { USD_NANO_MAX } from './accounts/limit-schema.ts'
import { StartupError } from './storage/startup-error.ts'

const usd = z
  .string()
  .transform((text, context) => {
    const amount = parseUsd(text)
    if (amount !== undefined && amount >= 0n && amount <= USD_NANO_MAX) return amount
    context.addIssue({
      code: 'custom',
      message: `must be a decimal string of USD up to ${formatUsd(USD_NANO_MAX)}, like "5.00"`,
    })
    return z.NEVER
  })
  .describe('decimal string of USD')

const tokens = z.number().int().positive()
const milliseconds = z.number().int().positive()
const markup = z.number().int().min(-9_999).max(100_000)
const markups = z.record(z.string(), markup).default({})

/** The operator's policy: the file that `MESH_SETTINGS` names. Every key has a default; an unknown one stops the start. */
export const policySchema = z.strictObject({
  catalog: catalogOverlay.prefault({}),
  pricing: z
    .strictObject({
      markupBasisPoints: markup
        .default(500)
        .describe('What is added to list prices, in hundredths of a percent.'),
      providers: markups.describe('The same for the endpoints of a provider, by its id.'),
      models: markups.describe("The same for a model, by its id, wherever it runs; before its provider's."),
      accounts: z
        .record(z.string().regex(/^acct_[a-z0-9]+$/, 'must be ids of accounts'), markup)
        .default({})
        .describe('The same for everything that an account calls, by its id; before all others.'),
      allowLoss: z.boolean().default(false).describe('Whether a price below cost may be published.'),
    })
    .prefault({}),
  holds: z
    .strictObject({
      outputSliceTokens: tokens
        .default(4_096)
        .describe('Output held at first where the caller set no max_tokens.'),
      outputFloorTokens: tokens.default(256).describe('The least output that makes a call worth running.'),
      keySharePercent: z
        .number()
        .int()
        .min(1)
        .max(100)
        .default(100)
        .describe("How much of its account's balance one key may hold at once."),
      lifetimeMs: milliseconds
        .default(60_000)
        .describe('How long a hold outlives a router that stopped renewing it.'),
    })
    .prefault({}),
  calls: z
    .strictObject({
      bodyBytesMax: tokens
        .default(32 * 1024 * 1024)
        .describe('The largest request body of an inference call.'),
      bodyBytesAtOnceMax: tokens
        .default(512 * 1024 * 1024)
        .describe('Bytes of request bodies that one router reads at once, all together.'),
      bodyTimeoutMs: milliseconds.default(60_000).describe('How long a request body may take to arrive.'),
      connectTimeoutMs: milliseconds.default(5_000).describe('How long connecting to a provider may take.'),
      firstByteTimeoutMs: milliseconds
        .default(120_000)
        .describe(
          'How long a provider may take to begin a streamed answer; a whole one may take half of what is left to the deadline, to its last byte.',
        ),
      idleTimeoutMs: milliseconds
        .default(60_000)
        .describe('How long a provider may be silent within an answer.'),
      outputTimeoutMs: milliseconds
        .default(450_000)
        .describe(
          'How long a provider may stream bytes that carry no output (pings, empty deltas) before its first output and after each.',
        ),
      upstreamHeaderBytesMax: tokens
        .default(RESPONSE_HEADER_BYTES_MAX)
        .describe("The largest head of a provider's answer."),
      upstreamEventCharactersMax: tokens
        .default(DEFAULT_ANSWER_BOUNDS.eventCharactersMax)
        .describe("The longest event of a provider's stream."),
      upstreamDocumentBytesMax: tokens
        .default(DEFAULT_ANSWER_BOUNDS.documentBytesMax)
        .describe("The largest provider's answer in one piece."),
      upstreamAnswerBytesMax: tokens
        .default(RESPONSE_BYTES_MAX)
        .describe("The largest provider's answer of either kind, with everything around its text."),
      deadlineMs: milliseconds.default(900_000).describe('How long a call may take with all its attempts.'),
      drainMs: milliseconds
        .default(30_000)
        .describe(
          'How long a stream is read on after its caller left, where only its end tells what it costs.',
        ),
      readerStallMs: milliseconds
        .default(60_000)
        .describe('Over which time it is measured what a caller takes of an answer that waits for it.'),
      readerBytesPerSecondMin: z
        .number()
        .int()
        .min(1)
        .default(64)
        .describe('What a caller must take of an answer that waits for it; a slower one is cut off.'),
      settleWaitMs: milliseconds
        .default(5_000)
        .describe('How long the end of an answer waits for its charge.'),
      concurrencyMax: tokens.default(20_000).describe('Calls that one router runs at once.'),
      accountSharePercent: z
        .number()
        .int()
        .min(1)
        .max(100)
        .default(25)
        .describe('How much of calls.concurrencyMax one account may use in one world.'),
    })
    .refine((calls) => calls.bodyBytesAtOnceMax >= calls.bodyBytesMax, {
      path: ['bodyBytesAtOnceMax'],
      message: 'must be at least calls.bodyBytesMax',
    })
    .prefault({}),
  providers: z
    .strictObject({
      accountSharePercent: z
        .number()
        .int()
        .min(1)
        .max(100)
        .default(50)
        .describe("How much of a provider's maxConcurrency one account may use on one router."),
      keepAway: z
        .boolean()
        .default(true)
        .describe(
          'Whether calls are kept away for a while from endpoints that fail, or that ask for patience.',
        ),
      probes: z
        .boolean()
        .default(true)
        .describe(
          'Whether MESH asks an endpoint something of its own, at your cost, when it fails for one account alone.',
        ),
    })
    .prefault({}),
  http: z
    .strictObject({
      connectionsMax: tokens
        .default(20_000)
        .describe(
          'Connections that one router has open at once. One more closes the one that is idle longest.',
        ),
      headersTimeoutMs: milliseconds
        .max(60_000)
        .default(10_000)
        .describe('How long the headers of a request may take, from the opening of a new connection.'),
      keepAliveTimeoutMs: milliseconds
        .default(75_000)
        .describe(
          'How long a connection is kept for its next request. Proxies in front should close theirs earlier.',
        ),
    })
    .prefault({}),
  testWorld: z
    .strictObject({
      demoCreditUsd: usd.prefault('10.00').describe('Test credit of the demo account of the first start.'),
    })
    .prefault({}),
  shutdown: z
    .strictObject({
      drainMs: milliseconds.default(30_000).describe('How long running calls may go on after SIGTERM.'),
    })
    .prefault({}),
})

export type Policy = z.output<typeof policySchema>

const POLICY_BYTES_MAX = 1_000_000

/**
 * Reads the policy file, by its absolute path, or the defaults where there is none. It is taken whole or not at all.
 * @throws StartupError that names every wrong key.
 */
export function readPolicy(file: string | undefined): Policy {
  if (file === undefined) return policySchema.parse({})
  const parsed = policySchema.safeParse(readJson(file))
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.map((issue) =>
    issue.code === 'unrecognized_keys'
      ? `unknown key ${[...issue.path, issue.keys[0]].join('.')}`
      : `${issue.path.join('.')}: ${issue.message}`,
  )
  throw new StartupError(`The file named by MESH_SETTINGS is refused: ${faults.slice(0, 10).join('; ')}.`)
}

function readJson(path: string): unknown {
  try {
    const text = readFileSync(path, 'utf8')
    if (text.length > POLICY_BYTES_MAX)
      throw new StartupError('The file named by MESH_SETTINGS is over 1 MB.')
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof StartupError) throw error
    throw new StartupError('The file named by MESH_SETTINGS cannot be read as JSON.')
  }
}
