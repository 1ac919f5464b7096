// Classifies every line of a file, a few at once, and files the receipt of each call. It may be stopped and started
// again within 24 hours, as long as its keys count: a line that was paid for is not paid for twice.
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { isMeshError, MeshClient } from '@meshrouter/sdk'

const [file = 'reviews.jsonl', job = 'reviews-1'] = process.argv.slice(2)
const AT_ONCE = 4
const RESULTS = `${job}.results.jsonl`
const RECEIPTS = `${job}.receipts`

// Reads MESH_BASE_URL and MESH_API_KEY. The key needs the scopes chat and usage.
const mesh = new MeshClient()

async function classify({ id, text }) {
  const { data, response } = await mesh.chat.completions
    .create(
      {
        model: 'mesh/gpt-5-mini',
        models: ['mesh/claude-haiku-4.5'],
        messages: [
          { role: 'system', content: 'Answer with JSON: {"sentiment": "good" | "bad" | "mixed"}' },
          { role: 'user', content: text },
        ],
        response_format: { type: 'json_object' },
      },
      // The same key for the same line of the same job, in every run of this program.
      { idempotencyKey: `${job}/${id}` },
    )
    .withResponse()
  // The answer is on disk before anything else is done: MESH keeps no content, so nobody could give it again.
  await appendFile(RESULTS, `${JSON.stringify({ id, answer: data.choices[0]?.message.content })}\n`)
  return response.headers.get('x-mesh-receipt-id')
}

/** The receipt of a line: of its call now, or of the call that an earlier run paid for. */
async function receiptOf(line) {
  try {
    return await classify(line)
  } catch (error) {
    if (isMeshError(error, 'idempotency_replay')) return error.error.metadata?.receiptId
    throw error
  }
}

const lines = (await readFile(file, 'utf8'))
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line))
const keys = await mesh.receipts.keys()
await mkdir(RECEIPTS, { recursive: true })
await writeFile(`${RECEIPTS}/keys.json`, JSON.stringify(keys))

let nanoUsd = 0n
const waiting = [...lines]
async function work() {
  for (let line = waiting.shift(); line; line = waiting.shift()) {
    const id = await receiptOf(line)
    if (!id) continue
    const receipt = await mesh.receipts.retrieve(id)
    const { totalUsd } = await mesh.receipts.verify(receipt, { keys })
    await writeFile(`${RECEIPTS}/${line.id}.jws`, receipt.jws)
    nanoUsd += BigInt(totalUsd.replace('.', ''))
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, work))

const total = `${nanoUsd / 1_000_000_000n}.${String(nanoUsd % 1_000_000_000n).padStart(9, '0')}`
console.log(`${lines.length} lines, ${total} USD, receipts in ${RECEIPTS}`)
