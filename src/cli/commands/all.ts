import type { Command } from "commander";
import { authCommand } from "./auth.ts";
import { compactCommand } from "./compact.ts";
import { completionCommand } from "./completion.ts";
import { defragCommand } from "./defrag.ts";
import { delCommand } from "./del.ts";
import { getCommand } from "./get.ts";
import { inspectCommand } from "./inspect.ts";
import { leaseCommand } from "./lease.ts";
import { putCommand } from "./put.ts";
import { roleCommand } from "./role.ts";
import { statusCommand } from "./status.ts";
import { txnCommand } from "./txn.ts";
import { userCommand } from "./user.ts";
import { verifyCommand } from "./verify.ts";
import { versionCommand } from "./version.ts";
import { watchCommand } from "./watch.ts";

export function addOnlineCommands(program: Command): void {
  for (const make of [
    putCommand,
    getCommand,
    delCommand,
    watchCommand,
    txnCommand,
    leaseCommand,
    compactCommand,
    defragCommand,
  ]) {
    program.addCommand(make());
  }
  program.addCommand(inspectCommand()).addCommand(verifyCommand());
  program.addCommand(authCommand()).addCommand(userCommand()).addCommand(roleCommand());
  program.addCommand(statusCommand()).addCommand(versionCommand()).addCommand(completionCommand(program));
}
