import type { Bench } from '../part.ts'
import { type Mock, startSocketMock } from './mock.ts'
import { startNginxMock } from './nginx-mock.ts'

/** A provider that answers at once, by the cheapest means that this machine has. */
export function startInstantMock({ nginx, cores }: Bench): Promise<Mock> {
  return nginx === undefined ? startSocketMock(cores?.rest) : startNginxMock(nginx, cores?.rest)
}
