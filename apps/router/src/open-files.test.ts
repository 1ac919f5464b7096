import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fitOpenFiles, openFilesMax } from './open-files.ts'

const WANTED = { connectionsMax: 20_000, callsMax: 20_000 }

test('what the settings want is taken where the system allows it', () => {
  assert.deepEqual(fitOpenFiles(WANTED, undefined), { ...WANTED, isLowered: false })
  assert.deepEqual(fitOpenFiles(WANTED, 1_048_576), { ...WANTED, isLowered: false })
  assert.deepEqual(fitOpenFiles(WANTED, 20_000), {
    connectionsMax: 14_808,
    callsMax: 2_468,
    isLowered: true,
  })
})

test('as many connections and calls as are taken never need more files than there are', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 300, max: 2_000_000 }),
      fc.integer({ min: 1, max: 50_000 }),
      fc.integer({ min: 1, max: 50_000 }),
      (files, connectionsMax, callsMax) => {
        const fit = fitOpenFiles({ connectionsMax, callsMax }, files)
        assert.ok(fit.connectionsMax >= 1 && fit.callsMax >= 1)
        assert.ok(fit.connectionsMax <= connectionsMax && fit.callsMax <= callsMax)
        // Each call has two files beside its caller's connection; 200 stay for everything else.
        assert.ok(fit.connectionsMax + 2 * fit.callsMax + 200 <= files)
      },
    ),
  )
})

test('the limit of this process is known', () => {
  const limit = openFilesMax()
  assert.ok(limit === undefined || limit > 0)
})
