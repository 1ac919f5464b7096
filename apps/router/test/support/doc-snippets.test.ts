import assert from 'node:assert/strict'
import { test } from 'node:test'
import { outputFault, snippetsOf } from './doc-snippets.ts'

test('the examples of a page are found with their marks', () => {
  const readme = snippetsOf('README.md')
  assert.deepEqual(
    readme.slice(0, 3).map(({ language, mark, notRun }) => [language, mark, notRun === undefined]),
    [
      ['sh', undefined, false],
      ['sh', undefined, false],
      ['js', 'first call', true],
    ],
  )
})

test('what an example prints is held against what its page states', () => {
  const text = (stated: string, printed: string) => outputFault({ language: 'text', text: stated }, printed)
  assert.equal(text('a (b) …\n', 'a (b) and more\n'), undefined)
  assert.match(text('a (b) …\n', 'a b and more\n') ?? '', /it prints/)
  assert.match(text('whole', 'not the whole') ?? '', /it prints/)
  const json = (stated: string, printed: string) => outputFault({ language: 'json', text: stated }, printed)
  assert.equal(json('{"a": {"b": [1, "x…"]}}', '{"a": {"b": [1, "xyz"], "c": 2}}'), undefined)
  assert.match(json('{"a": {"b": 1}}', '{"a": {"b": 2}}') ?? '', /\$\.a\.b is 2/)
  assert.match(json('{"a": [1]}', '{"a": [1, 2]}') ?? '', /\$\.a/)
  assert.match(json('{"a": 1}', '{}') ?? '', /\$\.a is undefined/)
  assert.match(json('{}', 'no') ?? '', /no JSON/)
})
