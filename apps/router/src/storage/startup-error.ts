/**
 * A reason not to start, as one plain sentence that says what to do. Thrown before the router listens; `main` prints
 * the message as it is and exits with code 1.
 */
export class StartupError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'StartupError'
  }
}
