import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseSteering, steeringWords } from './steering.ts'

function steeringOf(text: string, provider: 'anthropic' | 'openai' = 'openai') {
  const parsed = parseSteering(text, provider)
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.message)
  return parsed.steering
}

test('no words steer nothing', () => {
  assert.deepEqual(steeringOf(''), { echo: false, paceMs: 0 })
  assert.deepEqual(steeringOf(' , '), { echo: false, paceMs: 0 })
})

test('every fault of the published contract is known', () => {
  const published =
    'rate_limit|overloaded|timeout|cut_stream|stall|malformed|html|slow|refusal|empty|server_error'.split('|')
  for (const word of published) {
    assert.ok(steeringWords.includes(word), word)
    assert.ok(parseSteering(word, 'openai').ok, word)
  }
})

test('words add up, a value goes with its word', () => {
  assert.deepEqual(steeringOf('tokens=200, echo,pace=5,cut_stream=40,hold,lying_usage=huge'), {
    echo: true,
    paceMs: 5,
    tokens: 200,
    fault: { kind: 'cut_stream', afterTokens: 40 },
    holdAfterTokens: 0,
    lyingUsage: 'huge',
  })
})

test('a word for one provider is for it alone, and outweighs one for all', () => {
  const text = 'anthropic=overloaded,amazon-bedrock=cut_stream,rate_limit,anthropic=tokens=9'
  assert.deepEqual(steeringOf(text, 'anthropic'), {
    echo: false,
    paceMs: 0,
    fault: { kind: 'overloaded' },
    tokens: 9,
  })
  assert.deepEqual(steeringOf(text), { echo: false, paceMs: 0, fault: { kind: 'rate_limit' } })
})

test('what nobody knows is refused wherever it stands, naming the known words and none of the text', () => {
  const wrong = [
    'canary',
    'tokens',
    'tokens=canary',
    'tokens=0',
    'tokens=999999999',
    'rate_limit=1',
    'canary=stall',
  ]
  for (const text of [
    ...wrong,
    'anthropic=canary',
    'lying_usage=canary',
    '__proto__',
    'constructor=1',
    'echo=1',
  ]) {
    const parsed = parseSteering(text, 'openai')
    assert.equal(parsed.ok, false, text)
    if (parsed.ok) continue
    assert.match(parsed.message, /rate_limit.*lying_usage/)
    assert.doesNotMatch(parsed.message, /canary/)
  }
})

test('what no header can carry is refused, though it be white space around a known word', () => {
  for (const space of ['\n', '\r\n', '\t', '\u2003', '\u00a0', '\ufeff', '\0', '\x7f']) {
    const parsed = parseSteering(`slow,${space}tokens=4`, 'openai')
    assert.equal(parsed.ok, false, JSON.stringify(space))
  }
  assert.ok(parseSteering('slow, tokens=4', 'openai').ok)
})
