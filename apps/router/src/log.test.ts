import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeError } from './log.ts'

test('of an error its class, its code and our own frames are told, and nothing of its message', () => {
  const quoted = 'a prompt\n    at prompt (packages/prompt/of/somebody.ts:1:2)'
  const { frames = [], ...rest } = describeError(Object.assign(new TypeError(quoted), { code: 'E_QUOTED' }))
  assert.deepEqual(rest, { errorName: 'TypeError', errorCode: 'E_QUOTED' })
  assert.match(frames[0] ?? '', /^apps\/router\/src\/log\.test\.ts:\d+$/)
  assert.ok(!JSON.stringify(frames).includes('prompt'))
  const altered = new Error(quoted)
  assert.ok(altered.stack?.includes(quoted))
  altered.message = 'another message'
  assert.deepEqual(describeError(altered).frames, [], 'what the stack quotes cannot be told from frames')
  assert.deepEqual(describeError(Object.assign(new Error('x'), { code: 'a prompt' })).errorCode, undefined)
  assert.deepEqual(describeError('a prompt'), { errorName: 'string' })
})
