/** How the command ends, for scripts. One table for code, help and pages. */
export const EXIT_CODES = {
  done: { code: 0, meaning: 'It did what was asked.' },
  refused: { code: 1, meaning: 'MESH refused or failed what was asked, or a check of doctor failed.' },
  usage: { code: 2, meaning: 'The command line is wrong; nothing was sent.' },
  noKey: { code: 3, meaning: 'There is no key that may be used; nothing was sent.' },
  notGenuine: { code: 4, meaning: 'The receipt is not what this MESH has signed.' },
  notReached: { code: 5, meaning: 'MESH was not reached, or did not answer in time.' },
  interrupted: { code: 130, meaning: 'Ctrl-C.' },
} as const

export type Ending = keyof typeof EXIT_CODES

/** Ends the command with a sentence on stderr. It never holds a key. */
export class CommandError extends Error {
  readonly ending: Ending

  constructor(ending: Ending, message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options)
    this.name = 'CommandError'
    this.ending = ending
  }
}
