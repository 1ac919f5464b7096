import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { settled } from '../test/support/fake-clock.ts'
import { OutputAllowance } from './output-allowance.ts'

const SLICE = 100

/** A budget whose extensions the test answers. */
function askedBudget(outputTokensHeld: number, outputTokensCap: number) {
  const asked: {
    readonly wanted: number
    readonly answer: (held: number) => void
    readonly reject: () => void
  }[] = []
  const budget = {
    outputTokensHeld,
    outputTokensCap,
    extend(wanted: number): Promise<number> {
      const { promise, resolve, reject } = Promise.withResolvers<number>()
      asked.push({ wanted, answer: resolve, reject: () => reject(new Error('storage')) })
      return promise
    },
  }
  const allowance = new OutputAllowance(budget, SLICE)
  allowance.setCeiling(10_000)
  return { allowance, asked, wanted: () => asked.map(({ wanted }) => wanted) }
}

test('the next slice is asked for ahead of need, once, while the answer goes on', async () => {
  const { allowance, asked, wanted } = askedBudget(100, 1_000)
  assert.equal(allowance.covers(50), true)
  assert.deepEqual(wanted(), [])
  assert.equal(allowance.covers(51), true)
  assert.equal(allowance.covers(90), true)
  assert.deepEqual(wanted(), [200])
  asked[0]?.answer(200)
  await settled()
  assert.equal(allowance.covers(140), true)
  assert.deepEqual(wanted(), [200])
})

test('output beyond what is held waits for the extension', async () => {
  const { allowance, asked } = askedBudget(100, 1_000)
  const covered = allowance.covers(150)
  assert.ok(covered instanceof Promise)
  asked[0]?.answer(250)
  assert.equal(await covered, true)
  assert.equal(allowance.heldTokens, 250)
})

test('after a refusal the answer goes on to its hold, asks once more, and ends', async () => {
  const { allowance, asked, wanted } = askedBudget(100, 1_000)
  allowance.covers(60)
  asked[0]?.answer(100)
  await settled()
  assert.equal(allowance.covers(80), true)
  assert.equal(allowance.covers(100), true)
  assert.deepEqual(wanted(), [200])
  const covered = allowance.covers(101)
  await settled()
  assert.deepEqual(wanted(), [200, 201])
  asked[1]?.answer(100)
  assert.equal(await covered, false)
})

test('what is granted in part counts', async () => {
  const { allowance, asked } = askedBudget(100, 1_000)
  const covered = allowance.covers(120)
  asked[0]?.answer(130)
  assert.equal(await covered, true)
  const uncovered = allowance.covers(131)
  assert.ok(uncovered instanceof Promise)
  asked[1]?.answer(130)
  await settled()
  asked[2]?.answer(130)
  assert.equal(await uncovered, false)
})

test('books that cannot be reached refuse', async () => {
  const { allowance, asked } = askedBudget(100, 1_000)
  const covered = allowance.covers(101)
  asked[0]?.reject()
  await settled()
  asked[1]?.reject()
  assert.equal(await covered, false)
  await allowance.settled()
})

test('nobody is asked for more than the cap, nor for more than the upstream can say', async () => {
  const capped = askedBudget(100, 150)
  capped.allowance.covers(99)
  assert.deepEqual(capped.wanted(), [150])
  capped.asked[0]?.answer(150)
  await settled()
  assert.equal(await capped.allowance.covers(151), false)
  assert.deepEqual(capped.wanted(), [150])

  const bounded = askedBudget(100, 1_000)
  bounded.allowance.setCeiling(120)
  bounded.allowance.covers(99)
  assert.deepEqual(bounded.wanted(), [120])
})

test('where everything that the upstream can say is held, nothing is asked and nothing cut', () => {
  const { allowance, wanted } = askedBudget(100, 1_000)
  allowance.setCeiling(100)
  assert.equal(allowance.holdsEverything, true)
  assert.equal(allowance.covers(5_000), true)
  assert.deepEqual(wanted(), [])
})

test('the call is not settled while an extension is under way', async () => {
  const { allowance, asked } = askedBudget(100, 1_000)
  allowance.covers(60)
  let isSettled = false
  const done = allowance.settled().then(() => {
    isSettled = true
  })
  await settled()
  assert.equal(isSettled, false)
  asked[0]?.answer(200)
  await done
})

test('whatever the books grant, output is covered only by what is held', async () => {
  const grants = fc.array(fc.nat(120), { maxLength: 30 })
  const steps = fc.array(fc.nat(60), { maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(fc.nat(200), fc.nat(2_000), grants, steps, async (first, cap, grown, said) => {
      let held = first
      const budget = {
        outputTokensHeld: first,
        outputTokensCap: cap,
        extend(wanted: number): Promise<number> {
          assert.ok(wanted <= cap)
          held = Math.min(wanted, held + (grown.shift() ?? 0))
          return Promise.resolve(held)
        },
      }
      const allowance = new OutputAllowance(budget, SLICE)
      allowance.setCeiling(1_000_000)
      let total = 0
      for (const step of said) {
        total += step
        if (!(await allowance.covers(total))) break
        assert.ok(total <= held)
      }
      await allowance.settled()
      assert.equal(allowance.heldTokens, held)
    }),
  )
})
