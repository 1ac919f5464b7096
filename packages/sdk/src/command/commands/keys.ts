import { open, rm } from 'node:fs/promises'
import type { KeyId } from '../../ids.ts'
import type { LimitsPatch } from '../../limits.ts'
import type { Key, MadeKey, Scope } from '../../resources/keys.ts'
import type { Command, Context } from '../command.ts'
import { CommandError } from '../exit-codes.ts'

const SCOPES = ['chat', 'usage', 'keys', 'billing'] as const satisfies readonly Scope[]
const GRACE_SECONDS_MAX = 86_400

/** What each limit takes on the command line. */
const LIMITS = {
  requestsPerMinute: 'count',
  tokensPerMinute: 'count',
  maxConcurrentRequests: 'count',
  monthlyRequestLimit: 'count',
  monthlyTokenLimit: 'count',
  dailyUsdLimit: 'usd',
  monthlyUsdLimit: 'usd',
  totalUsdLimit: 'usd',
  maxUsdPerRequest: 'usd',
  allowedModels: 'names',
  allowedProviders: 'names',
  minimumPrivacyClass: 'word',
  expiresAt: 'word',
} as const satisfies Record<keyof LimitsPatch, 'count' | 'usd' | 'names' | 'word'>

const ABOUT_LIMITS = `Limits: ${Object.keys(LIMITS).join(', ')}.
USD as 5.00, names with commas, times as 2027-01-01T00:00:00Z; none takes a limit away.`

const save = {
  type: 'string',
  value: 'FILE',
  help: 'Write the secret into a new file of mode 0600 instead of printing it.',
} as const

const list: Command = {
  name: 'keys',
  summary: 'List the keys of the account.',
  wordsMax: 0,
  examples: ['meshrouter keys'],
  async run({ client, terminal, signal }) {
    const keys: Key[] = []
    for await (const key of (await client()).keys.list({ limit: 100 }, { signal })) keys.push(key)
    if (terminal.json) return terminal.writeJson({ data: keys })
    await terminal.table(
      ['id', 'name', 'world', 'ends in', 'status', 'scopes', 'limits', 'made'],
      keys.map((key) => [
        key.id,
        key.name,
        key.livemode ? 'live' : 'test',
        key.secretTail,
        key.status,
        key.scopes.join(','),
        limitsInWords(key) || '-',
        key.createdAt,
      ]),
    )
  },
}

const show: Command = {
  name: 'keys show',
  summary: 'Show a key; without an id the one that is used, with what its limits leave.',
  takes: '[ID]',
  wordsMax: 1,
  examples: ['meshrouter keys show'],
  async run({ client, words: [id], terminal, signal }) {
    const mesh = await client()
    await terminal.writeJson(
      await (id === undefined ? mesh.keys.current({ signal }) : mesh.keys.retrieve(keyId(id), { signal })),
    )
  },
}

const create: Command = {
  name: 'keys create',
  summary: 'Make a key. Its secret is shown this once.',
  takes: 'NAME',
  wordsMax: 1,
  about: ABOUT_LIMITS,
  options: {
    scopes: { type: 'string', value: 'A,B', help: `What it may do: ${SCOPES.join(', ')} (chat).` },
    project: { type: 'string', value: 'ID', help: "The project that it is in (the account's default)." },
    limit: { type: 'string', value: 'NAME=VALUE', multiple: true, help: 'A limit.' },
    save,
  },
  examples: [
    'meshrouter keys create batch --limit dailyUsdLimit=2.00 --limit requestsPerMinute=60 --save batch.key',
  ],
  async run(context) {
    const { words, options, signal } = context
    const name = needed(words[0], 'the name of the key')
    const scopes = options.list('scopes').map(scopeNamed)
    const project = options.text('project')
    const limits = limitsOf(options.texts('limit'))
    const mesh = await context.client()
    await hand(context, () =>
      mesh.keys.create(
        {
          name,
          ...(scopes.length > 0 ? { scopes } : {}),
          ...(project === undefined ? {} : { projectId: project as `proj_${string}` }),
          ...(Object.keys(limits).length > 0 ? { limits } : {}),
        },
        { signal },
      ),
    )
  },
}

const limit: Command = {
  name: 'keys limit',
  summary: 'Set limits of a key. Those that are not named stay.',
  takes: 'ID NAME=VALUE…',
  wordsMax: Object.keys(LIMITS).length + 1,
  about: ABOUT_LIMITS,
  examples: [
    'meshrouter keys limit key_01m8ffq50s9s17ssrz0464xrnp monthlyUsdLimit=20 requestsPerMinute=none',
  ],
  async run({ client, words: [id, ...pairs], terminal, signal }) {
    const key = keyId(id)
    const limits = limitsOf(pairs)
    if (pairs.length === 0) throw new CommandError('usage', 'Say which limits: NAME=VALUE.')
    const changed = await (await client()).keys.updateLimits(key, limits, { signal })
    if (terminal.json) return terminal.writeJson(changed)
    await terminal.line(`${changed.id}: ${limitsInWords(changed) || 'no limits'}`)
  },
}

const rotate: Command = {
  name: 'keys rotate',
  summary: 'Replace a key by its successor, whose secret is shown this once.',
  takes: 'ID',
  wordsMax: 1,
  options: {
    grace: { type: 'string', value: 'SECONDS', help: 'How long the old key goes on beside the new one (0).' },
    save,
  },
  examples: ['meshrouter keys rotate key_01m8ffq50s9s17ssrz0464xrnp --grace 3600 --save new.key'],
  async run(context) {
    const id = keyId(context.words[0])
    const graceSeconds = context.options.count('grace', { min: 0, max: GRACE_SECONDS_MAX }) ?? 0
    const mesh = await context.client()
    await hand(context, () => mesh.keys.rotate(id, { graceSeconds }, { signal: context.signal }))
  },
}

const revoke: Command = {
  name: 'keys revoke',
  summary: 'Stop a key, and every key that was made with it, at their next request.',
  takes: 'ID',
  wordsMax: 1,
  examples: ['meshrouter keys revoke key_01m8ffq50s9s17ssrz0464xrnp'],
  async run({ client, words: [id], terminal, signal }) {
    const revoked = await (await client()).keys.revoke(keyId(id), { signal })
    if (terminal.json) return terminal.writeJson(revoked)
    await terminal.line(`${revoked.id} is revoked.`)
  },
}

export const keyCommands: readonly Command[] = [list, show, create, limit, rotate, revoke]

/**
 * Makes a key and hands its secret over. The file is opened before the key is made: a secret that cannot be kept would
 * be lost.
 */
async function hand(
  { terminal, options }: Pick<Context, 'terminal' | 'options'>,
  make: () => PromiseLike<MadeKey>,
): Promise<void> {
  const file = options.text('save')
  if (file === undefined) {
    const made = await make()
    if (terminal.json) return terminal.writeJson(made)
    await terminal.line(made.secret)
    terminal.note(`${made.id}, ${limitsInWords(made) || 'no limits'}. The secret is not shown again.`)
    return
  }
  const handle = await open(file, 'wx', 0o600).catch(() => {
    throw new CommandError('usage', `The file ${file} cannot be made, or is there already. No key was made.`)
  })
  const key = await make().then(
    async ({ secret, ...shown }) => {
      await handle.writeFile(`${secret}\n`).finally(() => handle.close())
      return shown
    },
    async (error: unknown) => {
      await handle.close()
      await rm(file)
      throw error
    },
  )
  if (terminal.json) return terminal.writeJson(key)
  await terminal.line(key.id)
  terminal.note(`Its secret is in ${file}. Use it with MESH_API_KEY_FILE=${file}`)
}

function limitsInWords({ limits }: Pick<Key, 'limits'>): string {
  return Object.entries(limits)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(' ')
}

function limitsOf(pairs: readonly string[]): LimitsPatch {
  return Object.fromEntries(
    pairs.map((pair) => {
      const [name = '', ...rest] = pair.split('=')
      const kind = Object.hasOwn(LIMITS, name) ? LIMITS[name as keyof typeof LIMITS] : undefined
      const value = rest.join('=')
      if (kind === undefined || value === '') {
        throw new CommandError('usage', `A limit is written NAME=VALUE. ${ABOUT_LIMITS}`)
      }
      return [name, value === 'none' ? null : limitValue(kind, value)]
    }),
  )
}

function limitValue(kind: (typeof LIMITS)[keyof typeof LIMITS], value: string): number | string | string[] {
  if (kind === 'names') return value.split(',')
  if (kind !== 'count') return value
  if (/^[0-9]{1,15}$/.test(value)) return Number(value)
  throw new CommandError('usage', 'A limit of requests or tokens is a whole number, or none.')
}

function scopeNamed(name: string): Scope {
  const scope = SCOPES.find((each) => each === name)
  if (scope) return scope
  throw new CommandError('usage', `--scopes takes ${SCOPES.join(', ')}.`)
}

function keyId(id: string | undefined): KeyId {
  const given = needed(id, 'the id of the key')
  if (given.startsWith('key_')) return given as KeyId
  throw new CommandError('usage', 'The id of a key begins with key_; meshrouter keys lists them.')
}

function needed(word: string | undefined, what: string): string {
  if (word !== undefined) return word
  throw new CommandError('usage', `Say ${what}.`)
}
