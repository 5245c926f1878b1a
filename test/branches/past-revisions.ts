import { equal, ok } from "node:assert/strict";
import { hash } from "node:crypto";
import { parseArgs } from "node:util";
import { isDbError } from "../../src/base/errors.ts";
import { leaseId } from "../../src/base/ids.ts";
import type { Database } from "../../src/engine/engine.ts";
import type { ServedBranch } from "../../src/engine/host/served-branch.ts";
import { defaultRetention, type RetentionPolicy } from "../../src/storage/checkpoint-retention.ts";
import { defaultTreeSettings } from "../../src/storage/tree.ts";
import { newBranch } from "../engine/open-host.ts";
import { everything, put, range } from "../engine/requests.ts";
import { randomOf } from "./random.ts";
import { smallTables, TestRepository, write } from "./repository.ts";

/**
 * A branch that is cut at revision R is what its parent was when R was its newest: random histories, and of each as
 * many random R, also such as are not retained any more.
 *
 *   t4-node test/branches/past-revisions.ts [--revisions 1000] [--seed 1]
 */
export interface Compared {
  /** Revisions at which a branch was cut, and equal. */
  equal: number;
  /** Those that could not be had any more. */
  notRetained: number;
}

const HISTORY = 300;
const KEYS = 60;

/** All that a branch shows at its newest revision, each by itself so that a difference says what differs. */
interface Shown {
  readonly pairs: string;
  readonly versions: string;
  readonly hashKv: string;
  readonly whole: number;
  readonly leases: string;
  readonly users: string;
}

/** Cuts at `revisions` random revisions of one history. */
export async function comparePast(seed: number, revisions: number): Promise<Compared> {
  const random = randomOf(seed);
  const retention = RETENTIONS[random(RETENTIONS.length)]!;
  await using repository = await TestRepository.open({ tree: smallTables(defaultTreeSettings), retention });
  const parent = await repository.serve("main");
  // Half of the histories are of a branch that was cut itself: what it begins with is another one's.
  const first = await History.of(parent, random);
  const history = random(2) === 0 ? first : await first.child(repository, random);
  const compared = { equal: 0, notRetained: 0 };
  const hasLog = retention === defaultRetention;
  for (let n = 0; n < revisions; n++) {
    const at = [...history.shown.keys()];
    await compareAt(repository, history, { n, revision: at[random(at.length)]!, isInLog: hasLog, compared });
  }
  if (hasLog) equal(compared.notRetained, 0, "the log of a day has all of them");
  return compared;
}

const RETENTIONS: readonly RetentionPolicy[] = [
  defaultRetention,
  defaultRetention,
  { logMs: 200, tiers: [{ ageMs: 60_000, everyMs: 0 }], checkpointsMax: 50 },
  { logMs: 100, tiers: [{ ageMs: 60_000, everyMs: 40 }], checkpointsMax: 6 },
];

class History {
  readonly name: string;
  /**
   * What each revision was, in the order of time: records without a revision of their own (leases, users, compactions)
   * belong to the one before them.
   */
  readonly shown = new Map<number, Shown[]>();

  private constructor(name: string) {
    this.name = name;
  }

  static async of(served: ServedBranch, random: (below: number) => number): Promise<History> {
    const history = new History(served.name);
    for (let step = 0; step < HISTORY; step++) await history.#step(served, step, random);
    await history.#show(served.database);
    return history;
  }

  async #show(database: Database): Promise<void> {
    const { committed } = database;
    const before = this.shown.get(committed) ?? [];
    this.shown.set(committed, [...before, await shownBy(database)]);
  }

  async child(repository: TestRepository, random: (below: number) => number): Promise<History> {
    await repository.host.branches.create(newBranch("child", { from: this.name }));
    return History.of(await repository.serve("child"), random);
  }

  async #step(served: ServedBranch, step: number, random: (below: number) => number): Promise<void> {
    const { database } = served;
    const key = `key/${String(random(KEYS)).padStart(2, "0")}`;
    const draw = random(100);
    await this.#show(database);
    if (draw < 3) {
      // A branch that is cut off another one has its leases and users.
      const id = leaseId(BigInt((this.name === "main" ? 0 : HISTORY) + step + 1));
      await database.leaseGrant({ id, ttlSeconds: BigInt(600 + random(600)) });
    } else if (draw < 5) await changeAuth(database, `${this.name}-${step}`, random);
    else if (draw < 9) await served.checkpoint();
    else if (draw < 11) await database.maintenance.defragment(AbortSignal.timeout(20_000));
    else if (draw < 14) await compact(database, random);
    else if (draw < 30) await write(database, key, null);
    else if (draw < 40) await writeLeased(database, key, random);
    else if (draw < 42) await revoke(database, random);
    else await write(database, key, `${step} ${"v".repeat(random(80))}`);
  }
}

async function changeAuth(database: Database, id: string, random: (below: number) => number): Promise<void> {
  const { auth } = database;
  if (random(2) === 0) {
    await auth.roleAdd(`role-${id}`);
    await auth.roleGrantPermission({ role: `role-${id}`, permission: { type: 2, key: "key/", rangeEnd: "key0" } });
  } else await auth.userAdd({ name: `user-${id}`, password: Buffer.alloc(0), noPassword: true, address: "" });
}

async function compact(database: Database, random: (below: number) => number): Promise<void> {
  const { committed, compactRevision } = database;
  const revision = committed - random(30);
  if (revision > compactRevision && revision >= 1) await database.compact({ revision, physical: random(2) === 0 });
}

async function writeLeased(database: Database, key: string, random: (below: number) => number): Promise<void> {
  const { ids } = await database.leaseLeases();
  if (ids.length === 0) return;
  await database.put(put(key, "leased", { lease: ids[random(ids.length)]! }));
}

async function revoke(database: Database, random: (below: number) => number): Promise<void> {
  const { ids } = await database.leaseLeases();
  if (ids.length > 0) await database.leaseRevoke(ids[random(ids.length)]!);
}

async function shownBy(database: Database): Promise<Shown> {
  const { committed, compactRevision } = database;
  const { rows, count } = await database.range(range(...everything));
  const pairs = rows.map(({ bytes, start, end }) => Buffer.from(bytes.subarray(start, end)).toString("hex"));
  const lines: string[] = [];
  const compacted = compactRevision < 0 ? null : { through: compactRevision, at: compactRevision };
  for await (const versions of database.versionsInOrder({ after: 0, upTo: committed, compacted })) {
    for (const { key, main, sub, tombstone, bytes, start, end } of versions) {
      lines.push(`${key} ${main}.${sub} ${tombstone} ${Buffer.from(bytes.subarray(start, end)).toString("hex")}`);
    }
  }
  const hashKv = await database.maintenance.hashKv(0);
  const whole = await database.maintenance.hash();
  const { ids } = await database.leaseLeases();
  const granted = await Promise.all(ids.map(async (id) => [id, await database.leaseTimeToLive({ id, keys: true })]));
  const users = await database.auth.userList();
  const roles = await database.auth.roleList();
  return {
    pairs: `${count} ${digest(pairs)}`,
    versions: `${lines.length} ${digest(lines)}`,
    hashKv: `${hashKv.hash} of ${hashKv.hashRevision}, compacted at ${hashKv.compactRevision}`,
    whole: whole.hash,
    leases: granted.map(([id, lease]) => leaseText(id as bigint, lease as never)).join(),
    users: [...users.users, ...roles.roles].join(),
  };
}

const leaseText = (id: bigint, lease: { grantedTtlSeconds: number; keys: readonly string[] }): string =>
  `${id} ${lease.grantedTtlSeconds} ${[...lease.keys].sort().join(" ")}`;

const digest = (lines: readonly string[]): string => hash("sha256", lines.join("\n"));

/** `isInLog`: it is had to its very end; else a checkpoint may be all that there is of the revision. */
async function compareAt(
  repository: TestRepository,
  history: History,
  { n, revision, isInLog, compared }: { n: number; revision: number; isInLog: boolean; compared: Compared },
): Promise<void> {
  const { host } = repository;
  const name = `at-${n}`;
  const moment = { kind: "revision", revision } as const;
  try {
    await host.branches.create(newBranch(name, { from: history.name, moment }));
  } catch (error) {
    if (!isDbError(error, "notRetained")) throw error;
    compared.notRetained++;
    return;
  }
  const database = await host.database(name);
  equal(database.committed, revision);
  const found = await shownBy(database);
  const all = history.shown.get(revision)!;
  const same = (expected: Shown): boolean => differing(found, expected).length === 0;
  if (isInLog || !all.some(same)) {
    const expected = all.at(-1)!;
    for (const what of differing(found, expected)) {
      equal(found[what], expected[what], `${what} of ${history.name} at revision ${revision}`);
    }
  }
  await host.branches.delete(name);
  compared.equal++;
}

const differing = (found: Shown, expected: Shown): (keyof Shown)[] =>
  (Object.keys(expected) as (keyof Shown)[]).filter((what) => found[what] !== expected[what]);

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { revisions: { type: "string" }, seed: { type: "string" } } });
  const wanted = Number(values.revisions ?? "1000");
  const all = { equal: 0, notRetained: 0 };
  let seed = Number(values.seed ?? "1");
  for (; all.equal < wanted; seed++) {
    const some = await comparePast(seed, 50).catch((error: unknown) => {
      console.log(`FAIL  --seed ${seed}`);
      throw error;
    });
    all.equal += some.equal;
    all.notRetained += some.notRetained;
    console.log(`ok    --seed ${seed}: ${JSON.stringify(some)}`);
  }
  ok(all.notRetained > 0, "some were not retained");
  console.log(`${all.equal} revisions equal, ${all.notRetained} not retained`);
}

if (import.meta.main) await main();
