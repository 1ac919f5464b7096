import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MeshError } from '../errors.ts'
import { storageError } from './storage-error.ts'

function coded(code: string): Error {
  return Object.assign(new Error('said by the server'), { code })
}

test('what says that the database cannot serve becomes storage_unavailable', () => {
  const lost = [
    coded('ECONNREFUSED'),
    coded('08006'),
    coded('53300'),
    coded('57P01'),
    coded('57014'),
    coded('25006'),
    new Error('Connection terminated unexpectedly'),
    new Error('timeout exceeded when trying to connect'),
    new AggregateError([coded('ECONNREFUSED'), coded('ECONNREFUSED')]),
  ]
  for (const error of lost) {
    const mapped = storageError(error)
    assert.ok(mapped instanceof MeshError, String(error))
    assert.equal(mapped.code, 'storage_unavailable')
    assert.equal(mapped.cause, error)
  }
})

test('what says that the statement was wrong stays what it is', () => {
  for (const error of [coded('23505'), coded('40P01'), coded('55P03'), new Error('a bug'), 'not an error']) {
    assert.equal(storageError(error), error)
  }
})
