import { equal, ok } from "node:assert/strict";
import type { Database } from "../../src/engine/engine.ts";
import { KeyValueReader } from "../../src/engine/mvcc/key-value.ts";
import { put, range } from "../engine/requests.ts";
import { failure, WAY_MS } from "./database-calls.ts";
import type { DatabaseNode } from "./database-node.ts";
import type { Call, ClientRequest } from "./history.ts";
import type { SimRandom } from "./random.ts";
import type { Simulation } from "./simulation.ts";

/** What is beside the keys, as a client sees it. */
interface Settings {
  readonly users: readonly string[];
  readonly roles: readonly string[];
  readonly alarms: readonly string[];
  readonly announced: readonly string[];
  readonly authRevision: number;
}

/** A change of them that can be made, and what is there after it. */
interface Change {
  readonly what: string;
  readonly make: (database: Database) => unknown;
  readonly after: Settings;
}

const SELF = { peerUrls: ["http://self:2380"], clientUrls: ["http://self:2379"] };
/** One that only lists have: nothing is refused for it. */
const ALARM_TYPE = 7;
/** The key that says how many changes were made; before all that the other clients delete. */
const MARK = "!settings";
const PATIENCE_MS = 12_000;
const NOTHING: Settings = { users: [], roles: [], alarms: [], announced: [], authRevision: 1 };

const toggled = (list: readonly string[], one: string): string[] =>
  list.includes(one) ? list.filter((other) => other !== one) : [...list, one].sort();

/**
 * The one client that changes users, roles, alarms and members, one after the other, and writes after each how many
 * there were. What it reads must be what it has done, whoever leads: an answered change is there, a refused one is not,
 * one of unknown outcome is there or not and stays so once a later write was answered. Where a disk was lost with what
 * only it had, what is left is the state of one moment: settings and keys go back together.
 */
export class SettingsKeeper {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #anyNode: (random: SimRandom) => DatabaseNode | null;
  readonly #call: (at: DatabaseNode, request: ClientRequest) => Promise<Call>;
  /** After each number of changes, as text; and what each change would make of it. */
  readonly #states: string[] = [textOf(NOTHING)];
  readonly #attempts: { before: string; after: string }[] = [];
  #isLost = false;
  #runs = true;

  constructor(
    simulation: Simulation,
    surroundings: {
      readonly anyNode: (random: SimRandom) => DatabaseNode | null;
      readonly call: (at: DatabaseNode, request: ClientRequest) => Promise<Call>;
    },
  ) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork("settings keeper");
    this.#anyNode = surroundings.anyNode;
    this.#call = surroundings.call;
  }

  /** How many changes were settled. */
  get changes(): number {
    return this.#states.length - 1;
  }

  /** Acknowledged changes may be gone from here on. */
  lost(): void {
    this.#isLost = true;
  }

  stop(): void {
    this.#runs = false;
  }

  /** Until it is stopped, and the change at hand is settled: there must be a leader by then. */
  async run(): Promise<void> {
    while (this.#runs) {
      await this.#simulation.sleep(this.#random.between(20, 1500));
      if (this.#isLost) await this.#goBack();
      await this.#change();
    }
  }

  async #change(): Promise<void> {
    const number = this.#states.length;
    const before = this.#states[number - 1]!;
    const { what, make, after } = this.#choose(JSON.parse(before) as Settings);
    this.#attempts[number] = { before, after: textOf(after) };
    this.#simulation.note("settings keeper", `${number}: ${what}`);
    const outcome = await this.#ask(this.#anyNode(this.#random), make);
    if (!(await this.#mark(number))) return;
    const found = await this.#readSettings();
    if (found === null) return;
    if (outcome === "done") equal(found, textOf(after), `an answered change is there: ${what}`);
    else if (outcome === "not done") equal(found, before, `a refused change is not there: ${what}`);
    else ok([before, textOf(after)].includes(found), `of unknown outcome: ${what}: ${found}`);
    this.#states[number] = found;
  }

  /** Behind it everything is settled that was asked for before. False: a loss came in between. */
  async #mark(number: number): Promise<boolean> {
    for (;;) {
      if (this.#isLost) return false;
      const node = this.#anyNode(this.#random);
      if (node !== null) {
        const { outcome } = await this.#call(node, put(MARK, String(number)));
        if (outcome.kind === "answered") return !this.#isLost;
      }
      await this.#simulation.sleep(this.#random.between(50, 500));
    }
  }

  /** Null: a loss came in between. */
  async #readSettings(): Promise<string | null> {
    for (;;) {
      if (this.#isLost) return null;
      const read: { text: string | null } = { text: null };
      const outcome = await this.#ask(this.#anyNode(this.#random), async (database) => {
        read.text = await settingsOf(database);
      });
      if (outcome === "done") return read.text;
      await this.#simulation.sleep(this.#random.between(50, 500));
    }
  }

  /** After a loss: keys and settings are of the same moment. */
  async #goBack(): Promise<void> {
    const found = { mark: 0, text: null as string | null };
    while (found.text === null) {
      await this.#simulation.sleep(500);
      await this.#ask(this.#anyNode(this.#random), async (database) => {
        const { rows } = await database.range(range(MARK));
        found.mark = rows.length === 0 ? 0 : Number(Buffer.from(new KeyValueReader().read(rows[0]!).value).toString());
        found.text = await settingsOf(database);
      });
    }
    const { mark, text } = found;
    ok(mark < this.#attempts.length || mark === 0, `what was never written is not there: ${mark}`);
    const settled = this.#states[mark];
    const { before, after } = this.#attempts[mark] ?? { before: this.#states[0]!, after: this.#states[0]! };
    const possible = settled === undefined ? [before, after] : [settled];
    const next = this.#attempts[mark + 1];
    ok([...possible, next?.after].includes(text!), `after ${mark} changes: ${text}`);
    this.#states.length = mark + 1;
    this.#states[mark] = text!;
    this.#attempts.length = mark + 1;
    this.#isLost = false;
  }

  /** What another node makes of the bucket alone. */
  async check(database: Database): Promise<void> {
    equal(await settingsOf(database), this.#states.at(-1), "users, roles, alarms and members, rebuilt");
  }

  #choose(before: Settings): Change {
    const n = this.#random.integer(0, 3);
    const authRevision = before.authRevision + 1;
    switch (this.#random.pick(["user", "role", "alarm", "member"] as const)) {
      case "user": {
        const name = `u${n}`;
        const user = { name, password: new Uint8Array(0), noPassword: true, address: "keeper" };
        const isThere = before.users.includes(name);
        return {
          what: `${isThere ? "delete" : "add"} user ${name}`,
          make: ({ auth }) => (isThere ? auth.userDelete(name) : auth.userAdd(user)),
          after: { ...before, authRevision, users: toggled(before.users, name) },
        };
      }
      case "role": {
        const name = `r${n}`;
        const isThere = before.roles.includes(name);
        return {
          what: `${isThere ? "delete" : "add"} role ${name}`,
          make: ({ auth }) => (isThere ? auth.roleDelete(name) : auth.roleAdd(name)),
          after: { ...before, authRevision, roles: toggled(before.roles, name) },
        };
      }
      case "alarm": {
        const action = before.alarms.includes(String(n)) ? "deactivate" : "activate";
        return {
          what: `${action} the alarm of ${n}`,
          make: ({ maintenance }) => maintenance.alarm({ action, memberId: BigInt(n), type: ALARM_TYPE }),
          after: { ...before, alarms: toggled(before.alarms, String(n)) },
        };
      }
      case "member": {
        const [url] = before.announced;
        if (url === undefined) {
          const peerUrls = [`http://other${n}:2380`];
          return {
            what: `announce ${peerUrls[0]}`,
            make: ({ maintenance }) => maintenance.changeMember(SELF, { kind: "add", peerUrls, isLearner: true }),
            after: { ...before, announced: peerUrls },
          };
        }
        return { what: `remove ${url}`, make: remove, after: { ...before, announced: [] } };
      }
    }
  }

  /** At a process: it may die, stall, or answer when nobody listens any more. */
  #ask(at: DatabaseNode | null, work: (database: Database) => unknown): Promise<"done" | "not done" | "unknown"> {
    if (at === null || !at.node.alive) return Promise.resolve("not done");
    return new Promise((resolve) => {
      const patience = this.#simulation.schedule(PATIENCE_MS, null, "the keeper's patience", () => resolve("unknown"));
      const told = (outcome: "done" | "not done" | "unknown"): void => {
        patience.cancelled = true;
        resolve(outcome);
      };
      this.#simulation.schedule(this.#random.latencyMs(WAY_MS), at.node, "the keeper asks", () => {
        void served(at, work).then((outcome) =>
          this.#simulation.schedule(this.#random.latencyMs(WAY_MS), null, "the keeper hears", () => told(outcome)),
        );
      });
    });
  }
}

async function remove({ maintenance }: Database): Promise<void> {
  const members = await maintenance.members(SELF, { linearizable: true });
  const announced = members.find(({ name }) => name === "");
  // The state before says that there is one, and nobody else changes it.
  ok(announced !== undefined, "who was announced is listed");
  await maintenance.changeMember(SELF, { kind: "remove", id: announced.id });
}

async function served(
  at: DatabaseNode,
  work: (database: Database) => unknown,
): Promise<"done" | "not done" | "unknown"> {
  try {
    const { database } = at;
    if (database === undefined) return "not done";
    await work(database);
    return "done";
  } catch (error) {
    return failure(error).kind === "unknown" ? "unknown" : "not done";
  }
}

async function settingsOf({ auth, maintenance }: Database): Promise<string> {
  const { users } = await auth.userList();
  const { roles } = await auth.roleList();
  const { alarms } = await maintenance.alarm({ action: "get", memberId: 0n, type: 0 });
  const members = await maintenance.members(SELF, { linearizable: true });
  const { authRevision } = await auth.status();
  return textOf({
    users: [...users].sort(),
    roles: [...roles].sort(),
    alarms: alarms.map(({ memberId }) => String(memberId)).sort(),
    announced: members.flatMap(({ name, peerUrls }) => (name === "" ? peerUrls : [])),
    authRevision,
  });
}

const textOf = ({ users, roles, alarms, announced, authRevision }: Settings): string =>
  JSON.stringify({ users, roles, alarms, announced, authRevision });
