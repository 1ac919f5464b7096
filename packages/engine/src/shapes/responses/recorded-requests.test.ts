import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ABSENT } from '../../../test/recorded-answers.ts'
import { recordedExchanges } from '../../../test/recorded-exchanges.ts'
import { asIfSent, askOfRecord, outOfReach } from '../../../test/recorded-responses-requests.ts'
import { openaiResponses } from '../../protocols/openai-responses.ts'
import { parseResponses } from './request.ts'

/** What others asked of OpenAI, asked of MESH: the same goes in and out, and what MESH does not offer it says. */
test('every recorded request is taken and leaves as it came, or is refused with what to do', (t) => {
  const exchanges = recordedExchanges('/responses')
  if (!exchanges) return t.skip(ABSENT)
  const options = { pseudonym: () => 'pseudonym' }
  const wrong: string[] = []
  let taken = 0
  const refused = new Map<string, number>()
  for (const exchange of exchanges) {
    const { file, requestBody } = exchange
    const parsed = parseResponses(requestBody, options)
    const reason = outOfReach(requestBody)
    try {
      if (!parsed.ok) {
        assert.equal(parsed.code, 'unsupported_parameter', parsed.message)
        assert.ok(reason !== undefined, parsed.message)
        refused.set(reason, (refused.get(reason) ?? 0) + 1)
        continue
      }
      taken += 1
      if (reason !== undefined) continue
      const { endpoint } = askOfRecord(exchange)
      const { ask } = parsed.request
      const { body } = openaiResponses.encode(ask, endpoint, { stream: ask.stream })
      assert.deepEqual(asIfSent(JSON.parse(body)), asIfSent(requestBody))
    } catch (error) {
      wrong.push(`${file}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  t.diagnostic(`taken ${taken} of ${exchanges.length}`)
  for (const [reason, count] of refused) t.diagnostic(`refused: ${count} with ${reason}`)
  assert.deepEqual(wrong, [])
})
