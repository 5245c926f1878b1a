import type { Command } from "commander";
import { alarmCommand } from "./alarm.ts";
import { authCommand } from "./auth.ts";
import { branchCommand } from "./branch.ts";
import { compactCommand } from "./compact.ts";
import { completionCommand } from "./completion.ts";
import { defragCommand } from "./defrag.ts";
import { delCommand } from "./del.ts";
import { diffCommand } from "./diff.ts";
import { downgradeCommand } from "./downgrade.ts";
import { electCommand } from "./elect.ts";
import { endpointCommand } from "./endpoint.ts";
import { gcCommand } from "./gc.ts";
import { getCommand } from "./get.ts";
import { importCommand } from "./import.ts";
import { inspectCommand } from "./inspect.ts";
import { leaseCommand } from "./lease.ts";
import { lockCommand } from "./lock.ts";
import { logCommand } from "./log.ts";
import { memberCommand } from "./member.ts";
import { moveLeaderCommand } from "./move-leader.ts";
import { putCommand } from "./put.ts";
import { restoreCommand } from "./restore.ts";
import { retentionCommand } from "./retention.ts";
import { roleCommand } from "./role.ts";
import { snapshotCommand } from "./snapshot.ts";
import { statusCommand } from "./status.ts";
import { txnCommand } from "./txn.ts";
import { usageCommand } from "./usage.ts";
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
    lockCommand,
    electCommand,
    compactCommand,
    defragCommand,
    snapshotCommand,
    alarmCommand,
    endpointCommand,
    memberCommand,
    moveLeaderCommand,
    downgradeCommand,
  ]) {
    program.addCommand(make());
  }
  program.addCommand(inspectCommand()).addCommand(verifyCommand()).addCommand(logCommand()).addCommand(gcCommand());
  program.addCommand(importCommand()).addCommand(diffCommand()).addCommand(restoreCommand());
  program.addCommand(retentionCommand()).addCommand(usageCommand());
  program.addCommand(branchCommand());
  program.addCommand(authCommand()).addCommand(userCommand()).addCommand(roleCommand());
  program.addCommand(statusCommand()).addCommand(versionCommand()).addCommand(completionCommand(program));
}
