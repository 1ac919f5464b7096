import { readFile } from 'node:fs/promises'
import type { ReceiptId } from '../../ids.ts'
import { type Receipt, ReceiptError, type ReceiptKeys, verifyReceipt } from '../../verify-receipt.ts'
import type { Command, Context } from '../command.ts'
import { CommandError } from '../exit-codes.ts'
import { publishedKeys } from '../published-keys.ts'

const verify: Command = {
  name: 'receipt verify',
  summary: 'Verify a receipt: nothing in it was changed, and this MESH has signed it.',
  takes: 'FILE|ID|-',
  wordsMax: 1,
  about: `A file holds a receipt as receipt show prints it, or its JWS alone. With --keys and a file nothing is sent, and no key is
needed. Keys that were kept prove more than keys that come with the receipt.`,
  options: {
    keys: {
      type: 'string',
      value: 'FILE',
      help: 'The public keys, as receipt keys prints them (asked of MESH).',
    },
  },
  examples: [
    'meshrouter receipt verify receipt.json --keys keys.json',
    'meshrouter receipt verify rcpt_01m8ffqr37p8e53ta4w2kzr4kn',
  ],
  async run(context) {
    const { options, terminal, words } = context
    const receipt = await receiptFrom(context, words[0])
    const file = options.text('keys')
    const keys =
      file === undefined ? await publishedKeys(context) : (parseJson(await read(file)) as ReceiptKeys)
    const claims = await verifyReceipt(receipt, keys)
    if (terminal.json) return terminal.writeJson({ valid: true, claims })
    await terminal.line('valid', 'green')
    const tokens = Object.entries(claims.tokens).filter(([, count]) => count > 0)
    const facts: readonly (readonly [string, string])[] = [
      ['receipt', claims.receiptId],
      ['call', claims.requestId],
      ['issued', `${claims.issuedAt} by ${claims.issuer}`],
      ['world', claims.livemode ? 'live' : 'test'],
      [
        'served by',
        `${claims.modelServed ?? 'nobody'}${claims.provider === null ? '' : ` at ${claims.provider}`}`,
      ],
      ['tokens', tokens.map(([name, count]) => `${name} ${count}`).join(', ') || 'none'],
      ['cost', `$${claims.totalUsd} (provider $${claims.upstreamCostUsd}, margin $${claims.marginUsd})`],
      ['because', claims.billingReason],
      ['privacy', claims.privacy.class],
    ]
    for (const [name, fact] of facts) await terminal.line(`${name.padEnd(10)}${fact}`)
  },
}

const show: Command = {
  name: 'receipt show',
  summary: 'Print a receipt of a call, to keep it.',
  takes: 'ID',
  wordsMax: 1,
  examples: ['meshrouter receipt show rcpt_01m8ffqr37p8e53ta4w2kzr4kn > receipt.json'],
  async run(context) {
    const [id = ''] = context.words
    if (!isId(id)) throw new CommandError('usage', 'Say which receipt: an id that begins with rcpt_ or req_.')
    await context.terminal.writeJson(await retrieve(context, id))
  },
}

const keys: Command = {
  name: 'receipt keys',
  summary: 'Print the public keys that this MESH signs with, to keep them.',
  wordsMax: 0,
  examples: ['meshrouter receipt keys > keys.json'],
  async run(context) {
    await context.terminal.writeJson(await publishedKeys(context))
  },
}

export const receiptCommands: readonly Command[] = [verify, show, keys]

async function receiptFrom(context: Context, from: string | undefined): Promise<Receipt | string> {
  if (from === undefined)
    throw new CommandError('usage', 'Say which receipt: a file, an id, or - for standard input.')
  if (isId(from)) return retrieve(context, from)
  const text = (await (from === '-' ? context.readInput() : read(from))).trim()
  return text.startsWith('{') ? (parseJson(text) as Receipt) : text
}

function isId(text: string): boolean {
  return /^(?:rcpt|req)_[0-9a-z]+$/.test(text)
}

/** A call and its receipt have the same id, but for its beginning. */
async function retrieve({ client, signal }: Context, id: string): Promise<Receipt> {
  const receiptId: ReceiptId = `rcpt_${id.slice(id.indexOf('_') + 1)}`
  return (await client()).receipts.retrieve(receiptId, { signal })
}

async function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => {
    throw new CommandError('usage', `The file ${file} cannot be read.`)
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new ReceiptError('What was given is neither JSON nor a JWS.')
  }
}
