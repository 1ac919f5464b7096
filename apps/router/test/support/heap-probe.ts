import { renameSync, writeFileSync } from 'node:fs'

/**
 * Loaded into a router's process by `NODE_OPTIONS`: on SIGUSR2 it collects what nobody needs any more and writes what
 * is left, in bytes, to the file that HEAP_PROBE_FILE names. The file appears whole.
 */
const file = process.env.HEAP_PROBE_FILE ?? ''
let measured = 0

process.on('SIGUSR2', () => {
  globalThis.gc?.()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  measured += 1
  writeFileSync(`${file}.part`, JSON.stringify({ measured, usedBytes: heapUsed + arrayBuffers }))
  renameSync(`${file}.part`, file)
})
