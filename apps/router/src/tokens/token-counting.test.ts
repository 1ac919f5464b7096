import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { MeshError } from '../errors.ts'
import { newId } from '../ids.ts'
import { systemSeams } from '../seams.ts'
import { TOKEN_COUNTING_BOUNDS, TokenCounting } from './token-counting.ts'

const counting = new TokenCounting({ ...TOKEN_COUNTING_BOUNDS, waitingMax: 3, waitingPerAccountMax: 2 })
after(() => counting.close())

const ADA = newId('acct', systemSeams)
const BOB = newId('acct', systemSeams)

const codeOf = (run: () => unknown): string => {
  try {
    run()
    return 'ok'
  } catch (error) {
    return error instanceof MeshError ? error.code : 'another error'
  }
}

test('each vocabulary counts its own tokens, and words that steer a model are words', async () => {
  const texts = ['Hello, world!', '<|endoftext|>']
  assert.deepEqual(await counting.count(ADA, 'o200k_base', texts), { tokens: 4 + 7, isExact: true })
  assert.deepEqual(await counting.count(ADA, 'cl100k_base', texts), { tokens: 4 + 7, isExact: true })
  assert.deepEqual(await counting.count(ADA, 'o200k_harmony', ['Hello']), { tokens: 1, isExact: true })
})

test('one account has no more places than its own, and all have no more than there are', async () => {
  const text = ['word '.repeat(200_000)]
  const first = [counting.count(ADA, 'o200k_base', text), counting.count(ADA, 'o200k_base', text)]
  assert.equal(
    codeOf(() => counting.count(ADA, 'o200k_base', text)),
    'too_many_concurrent',
  )
  const third = counting.count(BOB, 'o200k_base', ['word'])
  assert.equal(
    codeOf(() => counting.count(BOB, 'o200k_base', text)),
    'overloaded',
  )
  for (const { tokens } of await Promise.all(first)) assert.equal(tokens, 200_001)
  assert.equal((await third).tokens, 1)
  assert.equal((await counting.count(ADA, 'o200k_base', ['word'])).tokens, 1)
})

test('a thread that ends is followed by another', async () => {
  const fragile = new TokenCounting({ ...TOKEN_COUNTING_BOUNDS, idleMs: 0 })
  assert.equal((await fragile.count(ADA, 'o200k_base', ['word'])).tokens, 1)
  assert.equal((await fragile.count(ADA, 'o200k_base', ['word'])).tokens, 1)
  const lost = assert.rejects(fragile.count(ADA, 'o200k_base', ['word '.repeat(2_000_000)]), /ended/)
  await fragile.close()
  await lost
})

test('a text that takes longer than it may is estimated', async () => {
  const hasty = new TokenCounting({ ...TOKEN_COUNTING_BOUNDS, budgetMs: 0 })
  after(() => hasty.close())
  assert.deepEqual(await hasty.count(ADA, 'o200k_base', ['word'.repeat(10)]), { tokens: 10, isExact: false })
})

test('what is asked while an idle thread ends is counted by the next one', async (t) => {
  const idle = new TokenCounting()
  t.mock.timers.enable({ apis: ['setTimeout'] })
  await idle.count(ADA, 'o200k_base', ['Hello'])
  t.mock.timers.tick(TOKEN_COUNTING_BOUNDS.idleMs)
  const { tokens } = await idle.count(ADA, 'o200k_base', ['Hello, world!'])
  assert.equal(tokens, 4)
  await idle.close()
})
