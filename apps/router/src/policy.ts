import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { formatUsd, parseUsd } from '@mesh/catalog/money.ts'
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

/** The operator's policy: the file that `MESH_SETTINGS` names. Every key has a default; an unknown one stops the start. */
export const policySchema = z.strictObject({
  pricing: z
    .strictObject({
      markupBasisPoints: z
        .number()
        .int()
        .min(-9_999)
        .max(100_000)
        .default(500)
        .describe('What is added to list prices, in hundredths of a percent.'),
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
          'How long a provider may take to begin a streamed answer; a whole one may take half of what is left to the deadline.',
        ),
      idleTimeoutMs: milliseconds
        .default(60_000)
        .describe('How long a provider may be silent within an answer.'),
      deadlineMs: milliseconds.default(900_000).describe('How long a call may take with all its attempts.'),
      drainMs: milliseconds
        .default(30_000)
        .describe(
          'How long a stream is read on after its caller left, where only its end tells what it costs.',
        ),
      readerStallMs: milliseconds
        .default(60_000)
        .describe('How long a caller may take no byte of its answer.'),
      settleWaitMs: milliseconds
        .default(5_000)
        .describe('How long the end of an answer waits for its charge.'),
      concurrencyMax: tokens.default(20_000).describe('Calls that one router runs at once.'),
    })
    .refine((calls) => calls.bodyBytesAtOnceMax >= calls.bodyBytesMax, {
      path: ['bodyBytesAtOnceMax'],
      message: 'must be at least calls.bodyBytesMax',
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
 * Reads the policy file, or the defaults where there is none. It is taken whole or not at all.
 * @throws StartupError that names every wrong key.
 */
export function readPolicy(file: string | undefined, projectFolder: string): Policy {
  if (file === undefined) return policySchema.parse({})
  const parsed = policySchema.safeParse(readJson(resolve(projectFolder, file)))
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
