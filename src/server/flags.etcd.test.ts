import { deepEqual, ok } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { etcdIsMissing, etcdProgram } from "../../test/compat/etcd-process.ts";
import { formerNames, ignoredFlags } from "./foreign-settings.ts";
import { runSettings } from "./settings.ts";

test("every flag that an etcd tells of is followed, or accepted with a warning", { skip: etcdIsMissing() }, () => {
  const help = execFileSync(etcdProgram, ["--help"], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const flags = [...help.matchAll(/^ {2}--([a-z0-9-]+)/gm)].map(([, name]) => name!);
  ok(flags.length > 100, `${flags.length} flags`);
  const known = (name: string): boolean => name in runSettings || name in ignoredFlags || name in formerNames;
  deepEqual(
    flags.filter((name) => !known(name)),
    [],
  );
  // What is followed is not said to have no effect.
  deepEqual(
    Object.keys(ignoredFlags).filter((name) => name in runSettings),
    [],
  );
});
