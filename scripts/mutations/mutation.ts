/** A rule of money or privacy that is broken on purpose, and the test that must notice. */
export interface Mutation {
  /** The rule, as a sentence that is no longer true. */
  readonly breaks: string
  /** The source file, from the project's root. */
  readonly file: string
  /** Text that occurs once in that file, and what stands in its place. */
  readonly from: string
  readonly to: string
  /** The test file that goes red. */
  readonly test: string
  /** Only the tests of that file whose name holds this text are run. */
  readonly named?: string
}
