import { describeError, type Log } from './log.ts'

/**
 * Ends the process after an error that nobody caught, and says where it passed. Node would print the error itself,
 * whose message may quote what it failed on: what a caller sent, or a provider.
 */
export function endOnCrash(log: Log): void {
  // A promise that was rejected and left alone ends up here too.
  process.on('uncaughtException', (error) => {
    log.error('an error that nobody caught ends this process', describeError(error))
    process.exit(1)
  })
}
