import type { Command, Context } from '../command.ts'
import { findKey } from '../credentials.ts'
import { CommandError } from '../exit-codes.ts'
import { fetchFrom, publishedKeys } from '../published-keys.ts'

const CLOCK_OFF_MAX_MS = 60_000

interface Check {
  readonly name: string
  readonly ok: boolean
  readonly says: string
}

export const doctor: Command = {
  name: 'doctor',
  summary: 'Check everything that a call needs: key, network, router, credit.',
  wordsMax: 0,
  about: 'It makes no call, and costs nothing.',
  examples: ['meshrouter doctor'],
  async run(context) {
    const { terminal } = context
    const checks: Check[] = []
    const needs = async (name: string, check: () => Promise<string>) => {
      const result = await check().then(
        (says) => ({ name, ok: true, says }),
        (error: unknown) => ({
          name,
          ok: false,
          says: error instanceof Error ? error.message : 'It failed.',
        }),
      )
      context.signal.throwIfAborted()
      checks.push(result)
      if (!terminal.json)
        await terminal.line(
          `${result.ok ? 'ok  ' : 'FAIL'}  ${name}: ${result.says}`,
          result.ok ? 'green' : 'red',
        )
      return result.ok
    }
    await needs('node', async () => process.version)
    const hasKey = await needs('key', () => keyInWords(context))
    const isThere = await needs('router', () => routerInWords(context))
    if (isThere) await needs('receipt keys', () => receiptKeysInWords(context))
    if (hasKey && isThere) {
      await needs('account', () => accountInWords(context))
      await needs('models', () => modelsInWords(context))
    }
    if (terminal.json) await terminal.writeJson({ ok: checks.every(({ ok }) => ok), checks })
    if (checks.some(({ ok }) => !ok)) throw new CommandError('refused', 'A check failed.')
  },
}

async function keyInWords({ environment }: Context): Promise<string> {
  const { key, source } = await findKey(environment)
  return `a ${key.startsWith('mesh_live_') ? 'live' : 'test'} key that ends in ${key.slice(-4)}, from ${source}`
}

async function routerInWords({ baseURL, signal }: Context): Promise<string> {
  if (!/\/v1\/?$/.test(baseURL)) throw new CommandError('usage', `${baseURL} does not end in /v1`)
  const from = performance.now()
  const response = await fetchFrom(baseURL, '/readyz', signal)
  const ms = Math.round(performance.now() - from)
  await response.arrayBuffer()
  if (!response.ok) throw new CommandError('refused', `${baseURL} is not ready (HTTP ${response.status})`)
  const offMs = Math.abs(Date.now() - Date.parse(response.headers.get('date') ?? ''))
  const clock = offMs > CLOCK_OFF_MAX_MS ? `; this clock is ${Math.round(offMs / 1_000)} s off` : ''
  return `${baseURL} is ready, ${ms} ms away${clock}`
}

async function receiptKeysInWords(context: Context): Promise<string> {
  const { keys } = await publishedKeys(context)
  return `${keys.length} published`
}

async function accountInWords({ client, signal }: Context): Promise<string> {
  const mesh = await client()
  const [account, key] = await Promise.all([mesh.accounts.current({ signal }), mesh.keys.current({ signal })])
  if (account.status !== 'active') throw new CommandError('refused', `${account.name} is ${account.status}`)
  const balance = `$${account.balanceUsd} of ${key.livemode ? 'live' : 'test'} credit`
  if (/^-|^0\.0+$/.test(account.balanceUsd))
    throw new CommandError('refused', `${account.name} has ${balance}`)
  return `${account.name} has ${balance}; the key may ${key.scopes.join(', ')}`
}

async function modelsInWords({ client, signal }: Context): Promise<string> {
  const { data } = await (await client()).models.list({ signal })
  const models = data.filter(({ type }) => type === 'model')
  return `${models.filter(({ available }) => available).length} of ${models.length} can be called`
}
