import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { flagScripts } from "./etcdctl/flag-scripts.ts";
import { playScript } from "./etcdctl/play-script.ts";
import type { Step } from "./etcdctl/script-steps.ts";
import { scripts } from "./etcdctl/scripts.ts";
import { startServer } from "./server-runner.ts";

const etcdctl = join(process.env["PEERS"] ?? "/opt/peers", "bin", "etcdctl");
const t4 = fileURLToPath(new URL("../../bin/t4", import.meta.url));
const missing = existsSync(etcdctl) ? false : `no etcdctl at ${etcdctl}: test/peers/build.sh etcd builds it`;

/** Lines that t4's command line plays: those about what is printed. The others make the state: etcdctl is faster. */
const playedCommands =
  /^(auth|user|role|txn|watch|lease (timetolive|keep-alive|revoke)|compaction|member|endpoint hashkv|downgrade)\b/;
const playedOptions = /-w |--hex|--prev-kv|--keys-only|--print-value/;
const isPlayed = (line: string): boolean => playedCommands.test(line) || playedOptions.test(line);

/** Where t4 means to do otherwise. */
const otherwise: Readonly<Record<string, string>> = {
  "put k v6 -w table": "is refused before anything is written; etcdctl writes, then fails to print",
  "auth status -w fields": "prints them; etcdctl has no fields for this",
  "get a z --count-only": "prints the count; etcdctl wants another format for that",
  "endpoint hashkv -w table": "a table as all of t4's are",
  "endpoint hashkv --rev x": "says what is wrong, not all that would be right",
  "lease keep-alive 123": "a lease that is not there is a failure",
  "watch k --rev 7 -- sh -c 'echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY'":
    "the command is run after its event, not after all of a response",
  "watch k --rev x": "says what is wrong, not all that would be right",
};

/** The same of the scripts of flags, all lines of which t4's command line plays. */
const otherwiseByFlags: Readonly<Record<string, string>> = {
  "get f --prefix --count-only --print-value-only": "prints the count; etcdctl wants another format for that",
  "get f --prefix --count-only -w json": "answers; etcdctl wants another format for that",
  "get a --print-value-only -w json": "answers in the format; etcdctl wants another one",
  "get a --print-value-only -w fields": "answers in the format; etcdctl wants another one",
  "get a z --min-create-rev 2 --max-create-rev 3 --count-only": "prints the count",
  "get a z --rev 2 --count-only -w json": "answers; etcdctl wants another format for that",
  "get a --range": "one line says what is wrong, not a page",
  "compaction 4 --physical -w json": "answers in JSON, where that is asked for",
  "compaction 4 -w json": "answers in JSON, where that is asked for",
  "compaction -1": "takes a number below zero for one",
  "watch k --rev -1 -w json": "says in words what the server has refused",
  "user add u4 --new-user-password ''": "says in one line that there is nobody to ask",
  "user list -w fields": "prints them; etcdctl has no fields for this",
  "auth status -w fields --user root:pw": "prints them; etcdctl has no fields for this",
  "role grant-permission r write a b c": "refuses what it has no use for",
};

const lineOf = (step: Step): string => (typeof step === "string" ? step : step.line);

/** A transaction whose input ends before its third empty line, or with a key that is not quoted: t4 takes it. */
const isLenient = (step: Step): boolean =>
  typeof step !== "string" &&
  step.line.startsWith("txn") &&
  (`${step.stdin}`.split("\n").filter((line) => line === "").length <= 3 || `${step.stdin}`.startsWith("mod(k)"));

for (const [name, steps] of Object.entries(scripts)) {
  const played = steps.filter((step) => otherwise[lineOf(step)] === undefined);
  if (!played.some((step) => isPlayed(lineOf(step))) || /^(lock|endpoint, member)/.test(name)) continue;
  compare(name, played, isPlayed);
}

for (const [name, steps] of Object.entries(flagScripts)) {
  // What users may is the server's to say, whoever asks. Of the others most lines are asked wrongly: etcdctl then
  // prints a page on standard output, t4 a line on the other.
  if (/^(lease|lock|endpoint|member|auth: every)/.test(name)) continue;
  compare(
    name,
    steps.filter((step) => otherwiseByFlags[lineOf(step)] === undefined && !isLenient(step)),
    () => true,
  );
}

function compare(name: string, played: readonly Step[], isPlayed: (line: string) => boolean): void {
  test(`t4's command line prints what etcdctl prints: ${name}`, { skip: missing, timeout: 300_000 }, async () => {
    const servers = await Promise.all([startServer(["--name", "default"]), startServer(["--name", "default"])]);
    const env = (n: 0 | 1) => ({ ETCDCTL_ENDPOINTS: servers[n].address, T4_ENDPOINTS: servers[n].address });
    try {
      await playScript(
        played,
        [
          { name: "etcdctl", program: () => ({ path: etcdctl, env: env(0) }) },
          { name: "t4", program: (line) => ({ path: isPlayed(line) ? t4 : etcdctl, env: env(1) }) },
        ],
        // Both say in one line what is wrong, in their own words; of exit codes that there was something.
        ({ code, stdout }) => ({ stdout, failed: code !== 0 }),
      );
    } finally {
      await Promise.all(servers.map((server) => server.stop()));
    }
  });
}
