import type { Command } from './command.ts'
import { chat } from './commands/chat.ts'
import { completion } from './commands/completion.ts'
import { doctor } from './commands/doctor.ts'
import { keyCommands } from './commands/keys.ts'
import { ledger } from './commands/ledger.ts'
import { logs } from './commands/logs.ts'
import { models } from './commands/models.ts'
import { receiptCommands } from './commands/receipt.ts'
import { route } from './commands/route.ts'
import { usage } from './commands/usage.ts'

/** Every command: what parses, helps, completes and is documented comes from this one list. */
export const COMMANDS: readonly Command[] = [
  chat,
  models,
  route,
  ...keyCommands,
  usage,
  logs,
  ledger,
  ...receiptCommands,
  doctor,
  completion,
]
