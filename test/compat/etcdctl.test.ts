import { deepEqual, equal, match, notEqual } from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fromBinary, toJson } from "@bufbuild/protobuf";
import { RangeResponseSchema } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { etcdIsMissing, type ServerProcess, startEtcd } from "./etcd-process.ts";
import { run, start, words } from "./etcdctl/command-line.ts";
import { flagScripts } from "./etcdctl/flag-scripts.ts";
import { playScript, type Side } from "./etcdctl/play-script.ts";
import { scripts } from "./etcdctl/scripts.ts";
import { startServer } from "./server-runner.ts";
import { sleep } from "./story.ts";

const peers = join(process.env["PEERS"] ?? "/opt/peers", "bin");
const path = join(peers, "etcdctl");
const etcdutl = join(peers, "etcdutl");
const absent = [path, etcdutl].find((program) => !existsSync(program));
const missing = absent === undefined ? etcdIsMissing() : `no ${absent}: test/peers/build.sh etcd builds it`;

const programFor = (server: ServerProcess) => ({ path, env: { ETCDCTL_ENDPOINTS: server.address } });
const etcdctl = (server: ServerProcess, line: string, stdin = "") => run(programFor(server), words(line), stdin);
const sideOf = (name: string, server: ServerProcess): Side => ({ name, program: () => programFor(server) });

function comparison(name: string, body: (etcd: ServerProcess, t4: ServerProcess) => Promise<void>): void {
  test(`M9 etcdctl: ${name}`, { skip: missing, timeout: 120_000 }, async () => {
    const started = await Promise.all([startEtcd({ defaultTimings: true }), startServer(["--name", "default"])]);
    try {
      await body(...started);
    } finally {
      await Promise.all(started.map((server) => server.stop()));
    }
  });
}

for (const [name, steps] of Object.entries({ ...scripts, ...flagScripts })) {
  comparison(`${name}: the same of t4 as of etcd`, (etcd, t4) =>
    playScript(steps, [sideOf("etcd", etcd), sideOf("t4", t4)]),
  );
}

/** Names of the fields, at any depth, of an answer in JSON. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (value === null || typeof value !== "object") return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shapeOf(inner)]));
}

comparison("endpoint status and member list have the same fields and columns", async (etcd, t4) => {
  const headings: string[][] = [];
  const shapes: unknown[] = [];
  for (const server of [etcd, t4]) {
    // An empty t4 table is there at once: the size of an empty database is divided by.
    const lines = ["endpoint status -w table", "endpoint status --cluster -w table", "member list -w table"];
    const tables = await Promise.all(lines.map((line) => etcdctl(server, line)));
    headings.push(
      tables.map(({ code, stdout, stderr }) => {
        equal(code, 0, stderr);
        return stdout.toString().split("\n")[1]!.replace(/ +/g, " ");
      }),
    );
    await etcdctl(server, "put k v");
    for (const line of ["endpoint status -w json", "member list -w json", "endpoint status -w json --cluster"]) {
      const { stdout } = await etcdctl(server, line);
      const shape = JSON.stringify(shapeOf(JSON.parse(stdout.toString())));
      // A quota that is not set is etcd's 2 GiB there, and none here.
      shapes.push(shape.replace('"dbSizeQuota":"number",', ""));
    }
  }
  deepEqual(headings[0], headings[1]);
  deepEqual(shapes.slice(0, 3), shapes.slice(3));
});

comparison("get -w protobuf is the same message", async (etcd, t4) => {
  const answers = [];
  for (const server of [etcd, t4]) {
    for (const line of ["put a 1", "put b", "del b", "put c 3"]) await etcdctl(server, line, "from standard input");
    const { stdout } = await etcdctl(server, "get --prefix '' -w protobuf");
    const answer = fromBinary(RangeResponseSchema, stdout);
    equal(answer.header?.revision, 5n);
    answers.push(toJson(RangeResponseSchema, { ...answer, header: undefined } as typeof answer));
  }
  deepEqual(answers[0], answers[1]);
});

comparison("snapshot save: the same words; the file is what etcdutl takes", async (etcd, t4) => {
  const directory = await mkdtemp(join(tmpdir(), "t4-etcdctl-"));
  try {
    const told = [];
    for (const [name, server] of Object.entries({ etcd, t4 })) {
      for (const line of ["put a 1", "put a 2", "put b 3", "del b"]) await etcdctl(server, line);
      const file = join(directory, name);
      const saved = await etcdctl(server, `snapshot save ${file}`);
      equal(saved.code, 0, saved.stderr);
      const checked = await run({ path: etcdutl, env: {} }, ["snapshot", "status", file, "-w", "json"]);
      equal(checked.code, 0, checked.stderr);
      const { revision, totalKey, version } = JSON.parse(checked.stdout.toString());
      told.push({ said: saved.stdout.toString().replace(file, "FILE"), revision, totalKey, version });
    }
    deepEqual(told[1], told[0]);
    deepEqual((await readdir(directory)).sort(), ["etcd", "t4"], "no part of a snapshot is left");
    const wrong = await etcdctl(t4, "snapshot save");
    notEqual(wrong.code, 0);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

const APPEARS_WITHIN_MS = 10_000;

comparison("make-mirror copies between etcd and t4, both ways", async (etcd, t4) => {
  for (const [from, to, prefix] of [
    [etcd, t4, "e"],
    [t4, etcd, "t"],
  ] as const) {
    await etcdctl(from, `put ${prefix}/before 1`);
    const mirror = start(programFor(from), ["make-mirror", "--prefix", `${prefix}/`, to.address]);
    try {
      await appears(to, `get ${prefix}/before`, `${prefix}/before\n1\n`);
      await etcdctl(from, `put ${prefix}/during 2`);
      await etcdctl(from, "txn", `\nput ${prefix}/one 1\nput ${prefix}/two 2\ndel ${prefix}/before\n\n\n`);
      await appears(
        to,
        `get --prefix ${prefix}/ --keys-only`,
        `${prefix}/during\n\n${prefix}/one\n\n${prefix}/two\n\n`,
      );
    } finally {
      mirror.child.kill("SIGKILL");
      await mirror.ended(1000);
    }
  }
});

comparison("make-mirror to another prefix, from a revision on, while writes go on, both ways", async (etcd, t4) => {
  for (const [from, to, prefix] of [
    [etcd, t4, "e"],
    [t4, etcd, "t"],
  ] as const) {
    for (let n = 0; n < 20; n++) await etcdctl(from, `put ${prefix}/${n} old`);
    await etcdctl(from, `put elsewhere ${prefix}`);
    const mirror = start(programFor(from), [
      ...[
        "make-mirror",
        "--prefix",
        `${prefix}/`,
        "--dest-prefix",
        `copy-${prefix}/`,
        "--max-txn-ops",
        "3",
        to.address,
      ],
    ]);
    try {
      for (let round = 0; round < 3; round++) {
        await Promise.all(Array.from({ length: 20 }, (_, n) => etcdctl(from, `put ${prefix}/${n} ${round}-${n}`)));
        await etcdctl(from, `del ${prefix}/1 ${prefix}/15`);
      }
      const all = (await etcdctl(from, `get --prefix ${prefix}/`)).stdout.toString();
      equal(all.split("\n").length, 1 + 2 * 14);
      await appears(to, `get --prefix copy-${prefix}/`, all.replaceAll(`${prefix}/`, `copy-${prefix}/`));
      equal((await etcdctl(to, `get --prefix ${prefix}/ --keys-only`)).stdout.toString(), "");
    } finally {
      mirror.child.kill("SIGKILL");
      await mirror.ended(1000);
    }
  }
});

comparison(
  "several want a lock: one at a time has it, who is killed keeps it no longer than its lease",
  async (etcd, t4) => {
    for (const server of [etcd, t4]) {
      // It dies with the lock: its session's lease of 2 s is all that gives it back.
      const killed = start(programFor(server), ["lock", "--ttl", "2", "l"]);
      await killed.hasWritten(1);
      const step =
        'etcdctl put at $1 > /dev/null; sleep 0.05; test "$(etcdctl get at --print-value-only)" = $1 && echo alone';
      const wanting = Array.from({ length: 5 }, (_, n) =>
        start({ ...programFor(server), env: { ...programFor(server).env, PATH: `${peers}:${process.env["PATH"]}` } }, [
          ...["lock", "l", "--", "sh", "-c", step, "sh", `${n}`],
        ]),
      );
      await contenders(server, "l", 6);
      killed.child.kill("SIGKILL");
      await killed.ended(1000);
      for (const outcome of await Promise.all(wanting.map((each) => each.ended(20_000)))) {
        deepEqual([outcome.code, outcome.stdout.toString(), outcome.stderr], [0, "alone\n", ""]);
      }
      await contenders(server, "l", 0);
    }
  },
);

comparison("several stand for an election: each in its turn, observers see all of them", async (etcd, t4) => {
  for (const server of [etcd, t4]) {
    const observer = start(programFor(server), ["elect", "--listen", "e"]);
    const standing = [];
    for (let n = 0; n < 3; n++) {
      standing.push(start(programFor(server), ["elect", "e", `candidate ${n}`]));
      await contenders(server, "e", n + 1);
    }
    for (const [n, candidate] of standing.entries()) {
      await candidate.hasWritten(2);
      await observer.hasWritten(2 * n + 2);
      candidate.child.kill("SIGINT");
      match((await candidate.ended(5000)).stdout.toString(), new RegExp(`^e/[0-9a-f]+\ncandidate ${n}\n$`));
    }
    observer.child.kill("SIGINT");
    const seen = (await observer.ended(5000)).stdout.toString().split("\n");
    deepEqual(
      seen.filter((line) => line.startsWith("candidate")),
      ["candidate 0", "candidate 1", "candidate 2"],
    );
    await contenders(server, "e", 0);
  }
});

/** Until so many keys are there of those who hold or want something. */
const contenders = (server: ServerProcess, name: string, count: number): Promise<void> =>
  appears(server, `get --prefix ${name}/ --count-only -w fields`, (got) => got.includes(`"Count" : ${count}\n`));

async function appears(
  server: ServerProcess,
  line: string,
  expected: string | ((got: string) => boolean),
): Promise<void> {
  const deadline = AbortSignal.timeout(APPEARS_WITHIN_MS);
  for (;;) {
    const got = (await etcdctl(server, line)).stdout.toString();
    if (typeof expected === "string" ? got === expected : expected(got)) return;
    if (deadline.aborted) equal(got, expected);
    await sleep(50);
  }
}
