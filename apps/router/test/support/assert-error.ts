import assert from 'node:assert/strict'
import type { Answered } from './test-router.ts'

/** The status and the code of an error. */
export type Expected = readonly [status: number, code: string]

/** Asserts that an answer is an error in OpenAI's envelope. */
export function assertError(answer: Answered, [status, code]: Expected, where = ''): void {
  assert.equal(answer.status, status, `${where} ${answer.text}`)
  const { error } = answer.json
  assert.equal(error.code, code, where)
  assert.ok(typeof error.message === 'string' && error.message.length > 10, where)
  assert.deepEqual(
    Object.keys(error).filter((name) => name !== 'metadata'),
    ['message', 'type', 'code', 'param'],
    where,
  )
}
