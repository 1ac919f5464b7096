import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toolCallIdentities } from './tool-call-identity.ts'

test('an id that is fit to show stays, whoever made it', () => {
  const calls = toolCallIdentities('req_1', 0)
  for (const [index, id] of ['call_9', 'toolu_01', 'functions.look:0', 'D681PevKs'].entries()) {
    assert.deepEqual(calls.open(index, id, 'look'), { call: { index, id, name: 'look' }, isNew: true })
  }
})

test('an id that is malformed, or used before, is replaced and stays the same', () => {
  const calls = toolCallIdentities('req_1', 2)
  assert.equal(calls.open(0, 'call_a', 'look').call.id, 'call_a')
  assert.equal(calls.open(7, 'call_a', 'look').call.id, 'call_1_2_1')
  assert.equal(calls.open(9, 'no"id', 'look').call.id, 'call_1_2_2')
  assert.equal(calls.open(7, 'call_b', 'other').isNew, false)
  assert.deepEqual(calls.find(7), { index: 1, id: 'call_1_2_1', name: 'look' })
  assert.equal(calls.find(8), undefined)
})

test("a call's signature goes out in its id, and makes no two ids of one", () => {
  const calls = toolCallIdentities('req_1', 0)
  assert.equal(calls.open(0, 'call_a', 'look', 'c2ln+w==').call.id, 'call_a__thought__c2ln-w')
  assert.equal(calls.open(1, 'call_a', 'look', 'c2ln+w==').call.id, 'call_1_0_1__thought__c2ln-w')
  assert.equal(calls.open(2, 'call_b', 'look', 'no"base64').call.id, 'call_b')
})

test('a name is made fit to show', () => {
  const calls = toolCallIdentities('req_1', 0)
  assert.equal(calls.open(0, 'a', 'look "around"\n').call.name, 'look__around__')
  // Every shape takes back what it gave out, and none takes a dot.
  assert.equal(calls.open(3, 'd', 'functions.look').call.name, 'functions_look')
  assert.equal(calls.open(1, 'b', '').call.name, 'unnamed')
  assert.equal(calls.open(2, 'c', 'x'.repeat(1_000)).call.name.length, 128)
})
