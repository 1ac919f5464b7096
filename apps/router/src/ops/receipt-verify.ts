import { readFile } from 'node:fs/promises'
import { verifyReceipt } from '../records/verify-receipt.ts'
import { StartupError } from '../storage/startup-error.ts'
import { type Command, type OpsContext, UsageError } from './command.ts'

export const receiptVerify: Command = {
  words: ['receipt', 'verify'],
  options: { keys: { type: 'string' } },
  operands: [1, 1],
  help: `receipt verify FILE --keys FILE
    Checks a receipt (JWS) against published keys, offline.`,
  async run(context, [file = ''], { keys }) {
    if (typeof keys !== 'string') {
      throw new UsageError('Name the receipt and the keys: npm run ops -- receipt verify FILE --keys FILE')
    }
    const verdict = verifyReceipt(await read(context, file), parseJson(await read(context, keys)))
    if (!verdict.valid) {
      context.say(`NOT VALID: ${verdict.reason}`)
      return 1
    }
    context.say(`valid\n${JSON.stringify(verdict.claims, null, 2)}`)
    return 0
  },
}

async function read({ pathOf }: OpsContext, file: string): Promise<string> {
  try {
    return await readFile(pathOf(file), 'utf8')
  } catch {
    throw new StartupError(`The file ${file} cannot be read.`)
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new StartupError('The key file is not JSON. Get it from /.well-known/mesh-receipt-keys.json')
  }
}
