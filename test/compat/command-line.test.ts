import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
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

const lineOf = (step: Step): string => (typeof step === "string" ? step : step.line);

for (const [name, steps] of Object.entries(scripts)) {
  const played = steps.filter((step) => otherwise[lineOf(step)] === undefined);
  if (!played.some((step) => isPlayed(lineOf(step))) || /^(lock|endpoint, member)/.test(name)) continue;
  test(`t4's command line prints what etcdctl prints: ${name}`, { skip: missing, timeout: 120_000 }, async () => {
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
