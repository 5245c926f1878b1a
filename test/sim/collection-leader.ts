import { ok } from "node:assert/strict";
import { hash } from "node:crypto";
import { isDbError } from "../../src/base/errors.ts";
import { type BranchId, type Epoch, epoch, type ObjectKey, type Revision } from "../../src/base/ids.ts";
import { leaderRegister } from "../../src/leadership/acquire.ts";
import { takenBy } from "../../src/leadership/leader-record.ts";
import { readOrigin } from "../../src/leadership/origin.ts";
import { takeOver } from "../../src/leadership/takeover.ts";
import { createTakeoverLog } from "../../src/log/fence.ts";
import { defaultLogSettings, type LogPosition, type LogWriter } from "../../src/log/log.ts";
import { createLogWriter } from "../../src/log/writer.ts";
import { createOnce } from "../../src/objects/conditional.ts";
import { tableKey } from "../../src/objects/keys.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import type { Checkpoint } from "../../src/storage/checkpoint.ts";
import { CheckpointWriter, newestCheckpoint, readCheckpoint } from "../../src/storage/checkpoint-store.ts";
import type { TableRef } from "../../src/storage/table.ts";
import type { SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";

const WINDOW = 3;
export const REQUEST_MS = 1000;

interface Start {
  readonly id: string;
  readonly position: LogPosition;
  /** The newest checkpoint, or that of the origin of a branch that has none. */
  readonly checkpoint: Checkpoint | null;
  readonly own: boolean;
}

/** A leadership of a branch as far as the bucket sees it: fences, a log, tables that come and go, checkpoints. */
export class CollectionLeader {
  readonly #node: SimNode;
  readonly #store: ObjectStore;
  readonly #branch: BranchId;
  readonly #random: SimRandom;

  constructor(node: SimNode, store: ObjectStore, branch: BranchId) {
    this.#node = node;
    this.#store = store;
    this.#branch = branch;
    this.#random = node.random.fork(`leader of ${branch}`);
  }

  /** Takes over, and leads until `rounds` checkpoints are made or it is deposed. Throws DbError. */
  async lead(rounds: number): Promise<void> {
    const won = await this.#win();
    if (won === null) return;
    const log = createTakeoverLog<Start>({
      runtime: this.#node.runtime,
      store: this.#store,
      branch: this.#branch,
      nonce: this.#node.runtime.random.bytes(8).toString("hex"),
      window: WINDOW,
      requestTimeoutMs: REQUEST_MS,
      newestStart: () => this.#newestStart(),
    });
    await takeOver({ log, epoch: won, window: WINDOW, fence: true, stopped: () => null });
    await this.#reign(won, log.start, log.end, rounds);
  }

  async #win(): Promise<Epoch | null> {
    const register = leaderRegister(this.#store, this.#branch, this.#node.runtime);
    const request = { timeoutMs: 5 * REQUEST_MS };
    const state = await register.read(request);
    if (state?.body.tombstone) return null;
    const origin = await readOrigin(this.#store, this.#branch, request);
    // Of this process alone: two that swapped in the same bytes would both take them for their own.
    const name = this.#node.name.replaceAll(/[^a-z0-9]+/g, "-");
    const taker = { session: name, node: name, addresses: [], durability: "object", inSync: [] } as const;
    const body = takenBy(state?.body ?? null, taker, epoch(origin.position.highestEpoch + 1));
    const outcome = await register.swap(state, body, request);
    return outcome.kind === "swapped" ? body.epoch : null;
  }

  async #newestStart(): Promise<Start> {
    const request = { timeoutMs: 5 * REQUEST_MS };
    const checkpoint = await newestCheckpoint(this.#store, this.#branch, request);
    if (checkpoint !== null) return { id: checkpoint.id, position: checkpoint.point.position, checkpoint, own: true };
    const { position, checkpoint: from } = await readOrigin(this.#store, this.#branch, request);
    const parents = from === null ? null : await readCheckpoint(this.#store, from, request);
    ok(from === null || parents !== null, "the origin's checkpoint is there");
    return { id: "origin", position, checkpoint: parents, own: false };
  }

  async #reign(won: Epoch, start: Start, end: LogPosition, rounds: number): Promise<void> {
    const { runtime } = this.#node;
    const nonce = runtime.random.bytes(8).toString("hex");
    const settings = {
      ...defaultLogSettings,
      window: WINDOW,
      segmentAgeMs: 2,
      segmentBytes: 200,
      requestTimeoutMs: REQUEST_MS,
    };
    const log = createLogWriter({
      runtime,
      store: this.#store,
      branch: this.#branch,
      epoch: won,
      nonce,
      position: end,
      settings,
    });
    let deposed = false;
    log.onFailed = () => {
      deposed = true;
    };
    const writer = new CheckpointWriter({
      store: this.#store,
      runtime,
      branch: this.#branch,
      epoch: won,
      newest: start.checkpoint,
      firstSlot: start.own ? start.checkpoint!.firstLogSlot : start.position.nextSlot,
      retention: {
        logMs: this.#random.pick([0, 2000, 10_000]),
        tiers: [{ ageMs: this.#random.pick([0, 5000, 20_000]), everyMs: this.#random.pick([0, 4000]) }],
        checkpointsMax: 5,
      },
      timeoutMs: 5 * REQUEST_MS,
    });
    let tables = (start.checkpoint?.runs ?? []).flat();
    let revision: number = end.revision;
    try {
      for (let round = 0; round < rounds && !deposed; round++) {
        for (let n = this.#random.integer(1, 4); n > 0 && log.refusal() === null && !deposed; n--) {
          log.append({ payload: Buffer.from("record"), revision: ++revision as Revision });
          await this.#sleep(this.#random.between(0, this.#random.pick([1, 300])));
        }
        tables = await this.#checkpoint({ log, writer, tables, won });
      }
    } finally {
      await log.close();
    }
  }

  /** Tables that a merge made, some of which are replaced before any checkpoint names them; some go. */
  async #checkpoint(state: {
    log: LogWriter;
    writer: CheckpointWriter;
    tables: TableRef[];
    won: Epoch;
  }): Promise<TableRef[]> {
    const cut = await Promise.race([state.log.cut().catch(() => null), this.#sleep(20_000).then(() => null)]);
    if (cut === null) return state.tables;
    const kept = state.tables.filter(() => this.#random.chance(0.6));
    const made: TableRef[] = [];
    for (let n = this.#random.integer(1, 2); n > 0; n--) made.push(await this.#upload(state.won));
    const tables = [...made.filter(() => this.#random.chance(0.8)), ...kept];
    // A deposed leader may be at it for long: what it then writes is a fork.
    if (this.#random.chance(0.3)) await this.#sleep(this.#random.between(0, 8000));
    const point = { position: cut, compactRevision: -1 as const, wallMs: this.#node.runtime.clock.wallMs() };
    await state.writer.write(
      point,
      tables.map((table) => [table]),
    );
    return tables;
  }

  async #upload(won: Epoch): Promise<TableRef> {
    const { runtime } = this.#node;
    const body = runtime.random.bytes(40);
    const key = tableKey({ branch: this.#branch, epoch: won, sha256: hash("sha256", body, "hex") });
    await createOnce(this.#store, key, body, { runtime, timeoutMs: 5 * REQUEST_MS });
    return refOf(key, body.length);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#node.runtime.timers.set(ms, resolve));
  }
}

/** No table that could be read: nobody here reads one. */
const refOf = (key: ObjectKey, bytes: number): TableRef => ({
  key,
  bytes,
  indexStart: 12,
  contentHash: "0".repeat(32),
  compactRevision: -1,
  first: { space: 0, key: "a", main: 1, sub: 0 },
  end: { space: 0, key: "b", main: 1, sub: 0 },
  spaces: [
    {
      space: 0,
      entries: 1,
      effectSum: 1,
      mainMin: 1,
      mainMax: 1,
      effectMain: 1,
      keys: 1,
      tombstones: 0,
      valueBytes: 1,
    },
  ],
});

export const isOrdinary = (error: unknown): boolean =>
  isDbError(error) && ["storeUnavailable", "leadershipLost", "canceled", "notFound", "stopped"].includes(error.kind);
