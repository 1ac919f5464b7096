import type { Part } from '../part.ts'
import { booksAlone } from './books.ts'
import { closedLoopJson, closedLoopSse } from './closed-loop.ts'
import { features } from './features.ts'
import { fixedRate } from './fixed-rate.ts'
import { micro } from './micro.ts'
import { profile } from './profile.ts'
import { starts } from './starts.ts'
import { streamChunks, streamMemory } from './streams.ts'
import { twoRouters } from './two-routers.ts'

/** In the order in which they run. */
export const ALL_PARTS: readonly Part[] = [
  closedLoopJson,
  closedLoopSse,
  fixedRate,
  streamChunks,
  streamMemory,
  twoRouters,
  starts,
  micro,
  booksAlone,
  features,
  profile,
]
