import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import type { BranchId } from "../../src/base/ids.ts";
import type { RetentionText } from "../../src/engine/branches/history.ts";
import type { Database } from "../../src/engine/engine.ts";
import type { Host } from "../../src/engine/host/host.ts";
import { metaKeys } from "../../src/engine/meta.ts";
import { decodeRecord, recordKinds } from "../../src/engine/record.ts";
import type { LogRecord } from "../../src/log/log.ts";
import { type Entry, KEYS, spaces } from "../../src/storage/storage.ts";
import { everything, range } from "../engine/requests.ts";
import type { BranchTruth } from "./branch-truth.ts";
import type { SimRandom } from "./random.ts";

/** A user that was added, or deleted, in the branch of this cluster id, as was acknowledged. */
export interface UserChanged {
  readonly cluster: string;
  readonly name: string;
  readonly deleted: boolean;
}

const RETENTIONS: readonly (RetentionText | null)[] = [
  null,
  { log: "1s", checkpoints: "1s:all" },
  { log: "2s", checkpoints: "5s:all" },
  { log: "1h", checkpoints: "1h:all" },
];

/** Changes what a branch has beside its keys: users, roles, authentication, and a retention of its own. */
export class SettingsOperator {
  readonly userChanges: UserChanged[] = [];
  #made = 0;

  async changeUsers(database: Database, random: SimRandom): Promise<void> {
    const cluster = database.identity.clusterId.toString(16);
    const { auth } = database;
    const { users } = await auth.userList();
    const draw = random.float();
    const name = draw < 0.3 && users.length > 0 ? random.pick(users) : `user-${++this.#made}`;
    if (draw < 0.1) await this.#switchAuth(database);
    else if (draw < 0.3 && users.includes(name)) {
      await auth.userDelete(name);
      this.userChanges.push({ cluster, name, deleted: true });
    } else {
      await auth.userAdd({ name, password: Buffer.alloc(0), noPassword: true, address: "" });
      this.userChanges.push({ cluster, name, deleted: false });
      if (random.chance(0.3)) await auth.roleAdd(`role-${this.#made}`);
    }
  }

  /** Each step may be the last one: the next call goes on from there. */
  async #switchAuth({ auth }: Database): Promise<void> {
    const { enabled } = await auth.status();
    if (enabled) {
      await auth.disable();
      return;
    }
    const { roles } = await auth.roleList();
    const { users } = await auth.userList();
    if (!roles.includes("root")) await auth.roleAdd("root");
    if (!users.includes("root")) {
      await auth.userAdd({ name: "root", password: Buffer.alloc(0), noPassword: true, address: "" });
    }
    const granted = await auth.userGet("root");
    if (!granted.roles.includes("root")) await auth.userGrantRole({ user: "root", role: "root" });
    await auth.enable();
  }

  async changeRetention(host: Host, branch: string, random: SimRandom): Promise<void> {
    const retention = random.pick(RETENTIONS);
    const found = await host.history.setRetention({ branch, retention, preview: random.chance(0.2) });
    ok(found.own || retention === null, "a retention that is set is the branch's own");
  }
}

/** What a branch's records say of all but keys. */
export class SettingsTruth {
  readonly #truth: BranchTruth;

  constructor(truth: BranchTruth) {
    this.#truth = truth;
  }

  /** By space and key, as its records have left them; the branch's ancestors' first. */
  #values(records: readonly LogRecord[]): Map<string, string> {
    const values = new Map<string, string>();
    for (const record of records) {
      for (const entry of decodeRecord(record).entries) {
        if (entry.space === KEYS) continue;
        const key = `${entry.space} ${entry.key}`;
        if (entry.tombstone) values.delete(key);
        else values.set(key, bytesOf(entry).toString("latin1"));
      }
    }
    return values;
  }

  /** Users, roles, whether authentication is on, and retention are what the branch's records and its ancestors' say. */
  async check(host: Host, name: string, { branch, database }: { branch: BranchId; database: Database }): Promise<void> {
    const values = this.#values(this.#truth.records(branch));
    const namesIn = (space: number): string[] =>
      [...values.keys()].flatMap((key) => (key.startsWith(`${space} `) ? [key.slice(`${space} `.length)] : [])).sort();
    const { auth } = database;
    deepEqual([...(await auth.userList()).users].sort(), namesIn(spaces.users), `users of ${name}`);
    deepEqual([...(await auth.roleList()).roles].sort(), namesIn(spaces.roles), `roles of ${name}`);
    const isOn = values.get(`${spaces.meta} auth`)?.charCodeAt(0) === 1;
    equal((await auth.status()).enabled, isOn, `authentication of ${name}`);
    if (isOn) await this.#checkGuarded(database);
    const retention = values.get(`${spaces.meta} ${metaKeys.setting("retention")}`) ?? "";
    const found = await host.history.retention(name);
    equal(found.own ? `${found.retention.log} ${found.retention.checkpoints}` : "", retention, `retention of ${name}`);
    this.#checkStripped(branch, namesIn(spaces.users));
    this.#checkProtected(branch);
  }

  async #checkGuarded(database: Database): Promise<void> {
    const nobody = database.as({ token: () => undefined, commonName: () => null });
    await rejects(async () => nobody.range(range(...everything)), "nobody in particular reads a branch with users");
  }

  /** A branch that was cut without users has those alone that were added to it. */
  #checkStripped(branch: BranchId, users: readonly string[]): void {
    const { strips = [] } = this.#truth.origin(branch);
    if (!strips.some(({ auth }) => auth)) return;
    const added = new Set<string>();
    for (const record of this.#truth.own(branch)) {
      for (const { space, key } of decodeRecord(record).entries) if (space === spaces.users) added.add(key);
    }
    // What a branch in between has added is its own business: then the strip is an ancestor's.
    if (!strips.some(({ by, auth }) => auth && by === branch)) return;
    for (const user of users) ok(added.has(user), `user ${user} of ${branch}, which was cut without users`);
  }

  /** No key is written, and no lease ends, from the record on that protects the branch from writes. */
  #checkProtected(branch: BranchId): void {
    let isProtected = false;
    for (const record of this.#truth.own(branch)) {
      const { kind, entries } = decodeRecord(record);
      const writes = kind === recordKinds.leaseRevoke || entries.some(({ space }) => space === KEYS);
      ok(!isProtected || !writes, `record ${record.number} of ${branch} writes, though it was protected from that`);
      for (const entry of entries) {
        if (entry.space !== spaces.meta || entry.key !== metaKeys.setting("write-protected")) continue;
        isProtected = this.#truth.branchNamed(bytesOf(entry).toString("utf8")) === branch;
      }
    }
  }

  /** Whoever was told that a user was added, or deleted, finds that in the log. */
  checkTold(changes: readonly UserChanged[], isUploaded: (branch: BranchId) => boolean): void {
    for (const { cluster, name, deleted } of changes) {
      const branch = this.#truth.branchOf(cluster);
      if (!isUploaded(branch)) continue;
      const entries = this.#truth.own(branch).flatMap((record) => decodeRecord(record).entries);
      const found = entries.some(
        ({ space, key, tombstone }) => space === spaces.users && key === name && tombstone === deleted,
      );
      ok(found, `branch ${branch}: that user ${name} was ${deleted ? "deleted" : "added"} is not in its log`);
    }
  }
}

const bytesOf = ({ bytes, start, end }: Entry): Buffer => Buffer.from(bytes.subarray(start, end));
