import type { Program } from '../machine/program.ts'
import { firstLine, startProgram } from '../machine/program.ts'

/** A stand-in for a provider. */
export interface Mock {
  readonly name: string
  readonly port: number
  readonly program: Program
}

/**
 * A provider on raw sockets. With `chunksPerSecond` its streams go on at that rate until their reader leaves; without,
 * they are sent whole, at once.
 */
export async function startSocketMock(core: number | undefined, chunksPerSecond = 0): Promise<Mock> {
  const file = `${import.meta.dirname}/socket-mock.ts`
  const program = startProgram(process.execPath, [file, String(chunksPerSecond)], { core })
  return { name: 'a Node program on raw sockets', port: Number(await firstLine(program)), program }
}
