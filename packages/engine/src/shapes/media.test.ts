import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isBase64, parseImageUrl } from './media.ts'

test('what is encoded is base64, and what has one foreign character is not', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1 }),
      fc.nat(),
      fc.constantFrom('-', ' ', '=', 'é', '\n'),
      (bytes, at, foreign) => {
        const base64 = Buffer.from(bytes).toString('base64')
        assert.ok(isBase64(base64))
        const place = at % base64.length
        const spoilt = base64.slice(0, place) + foreign + base64.slice(place + 1)
        if (foreign !== '=' || place < base64.length - 2) assert.ok(!isBase64(spoilt))
      },
    ),
  )
  for (const text of ['', '=', '====', 'A===', 'AAA', 'AA=A']) assert.ok(!isBase64(text), text)
})

test('a large image is checked in no time', () => {
  const base64 = 'A'.repeat(20_000_000)
  const startedAt = performance.now()
  assert.ok(isBase64(base64))
  assert.ok(!isBase64(`${base64}!AAA`))
  assert.equal(parseImageUrl(`data:image/png;${base64}`), undefined)
  assert.ok(performance.now() - startedAt < 2_000)
})

test('an image of a type that some providers refuse is refused', () => {
  assert.ok(parseImageUrl('data:image/jpg;base64,AAAA'))
  assert.ok(parseImageUrl('DATA:IMAGE/WEBP;BASE64,AAAA'))
  for (const url of [
    'data:image/svg+xml;base64,AAAA',
    'data:text/html;base64,AAAA',
    'https://',
    'file:///etc',
  ]) {
    assert.equal(parseImageUrl(url), undefined, url)
  }
})
