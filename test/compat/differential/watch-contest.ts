import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import * as pb from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes } from "../client.ts";
import { type Endpoint, type RawStream, RpcFailure } from "../endpoint.ts";
import { sleep } from "../story.ts";
import { Dice } from "./operations.ts";

/**
 * Several watchers on one stream, made, cancelled and asked for progress between writes and compactions: what each of
 * them is told, message by message with its header, must be the same on two servers, and so must the order of what
 * answers requests. How messages of different watchers are mixed is left open, as by etcd.
 */
export interface WatchContest {
  readonly seed: number;
  readonly left: Endpoint;
  readonly right: Endpoint;
  readonly enough: (done: number) => boolean;
}

/** Null, or how they differ. */
export async function watchContest({ seed, left, right, enough }: WatchContest): Promise<string | null> {
  const dice = new Dice(seed);
  for (let [done, round] = [0, 0]; !enough(done); round++) {
    const steps = Array.from({ length: STEPS_A_ROUND }, () => step(dice));
    const [one, other] = await Promise.all([new Play(left).run(steps), new Play(right).run(steps)]);
    for (const [at, text] of one.entries()) {
      if (text !== other[at]) return `round ${round}: ${steps.map(stepText).join("\n")}\n${text}\n  but\n${other[at]}`;
    }
    done += steps.length;
  }
  return null;
}

const STEPS_A_ROUND = 25;
/** A watcher that has history to read is told of it within so long; etcd looks for such every 100 ms. */
const HISTORY_MS = 350;
const PROGRESS_MS = 250;
const CANCEL_MS = 40;

type Init<T extends { $typeName: string }> = Omit<T, "$typeName">;
type Create = Partial<Init<pb.WatchCreateRequest>>;

type Step =
  | { readonly kind: "create"; readonly create: Create; readonly back: number | null }
  | { readonly kind: "cancel"; readonly id: bigint }
  | { readonly kind: "progress" }
  | { readonly kind: "empty" }
  | { readonly kind: "write"; readonly ops: readonly { readonly key: string; readonly value: string | null }[] }
  | { readonly kind: "compact"; readonly back: number };

const stepText = (one: Step): string =>
  JSON.stringify(one, (_name, value: unknown) =>
    typeof value === "bigint" ? String(value) : value instanceof Uint8Array ? Buffer.from(value).toString() : value,
  );

const keys = ["a", "aa", "b", "c", "d"];
const ids = [0n, 0n, 0n, 0n, 1n, 2n, 3n, 5n, -1n, -7n, 2n ** 62n];

function step(dice: Dice): Step {
  const roll = dice.next();
  if (roll < 0.3) {
    const create: Create = {
      key: bytes(dice.one(["", ...keys])),
      rangeEnd: bytes(dice.one(["", "", "b", "c", "z", "\0", "a"])),
      watchId: dice.one(ids),
      prevKv: dice.chance(0.5),
      filters: dice.list(2, () => dice.below(2) as pb.WatchCreateRequest_FilterType),
      fragment: dice.chance(0.3),
    };
    return { kind: "create", create, back: dice.chance(0.5) ? dice.one([-3, -1, 0, 1, 2, 5, 20]) : null };
  }
  if (roll < 0.42) return { kind: "cancel", id: dice.one([...ids, 4n, 6n]) };
  if (roll < 0.5) return { kind: "progress" };
  if (roll < 0.52) return { kind: "empty" };
  if (roll < 0.56) return { kind: "compact", back: dice.below(6) };
  const ops = Array.from({ length: 1 + dice.below(3) }, () => ({
    key: dice.one(keys),
    value: dice.chance(0.3) ? null : dice.one(["", "1", "22"]),
  }));
  return { kind: "write", ops: ops.filter(({ key }, at) => ops.findIndex((one) => one.key === key) === at) };
}

/** One server's part of a round, which goes on with what the rounds before have left. */
class Play {
  readonly #endpoint: Endpoint;
  readonly #stream: RawStream;
  readonly #told = new Map<string, string[]>();
  #head = 0;
  #ended = false;
  #reading: Promise<void>;
  /** Told of what the sentinel watcher is told, the newest revision. */
  #seen = 0;
  #created = 0;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    this.#stream = endpoint.stream("/etcdserverpb.Watch/Watch");
    this.#reading = this.#read();
  }

  async run(steps: readonly Step[]): Promise<string[]> {
    await this.#write([{ key: "~", value: "" }]);
    this.#send({ requestUnion: { case: "createRequest", value: { key: bytes("~"), watchId: SENTINEL } } });
    await this.#settle(0);
    for (const one of steps) await this.#step(one);
    await this.#settle(HISTORY_MS);
    // Watchers are told of the sentinel in any order.
    await sleep(CANCEL_MS);
    this.#ended = true;
    this.#stream.cancel();
    await this.#reading;
    return [...this.#told.keys()].sort().map((id) => `${id}: ${this.#told.get(id)!.join("\n    ")}`);
  }

  async #step(one: Step): Promise<void> {
    switch (one.kind) {
      case "create": {
        const startRevision = one.back === null ? 0n : BigInt(this.#head - one.back);
        const created = this.#created;
        this.#send({ requestUnion: { case: "createRequest", value: { ...one.create, startRevision } } });
        await this.#until(() => this.#created > created, "a watcher is created");
        return this.#settle(one.back === null ? 0 : HISTORY_MS);
      }
      case "cancel":
        this.#send({ requestUnion: { case: "cancelRequest", value: { watchId: one.id } } });
        // Of an id that there is not nothing is told.
        await sleep(CANCEL_MS);
        return this.#settle(0);
      case "progress":
        this.#send({ requestUnion: { case: "progressRequest", value: {} } });
        await sleep(PROGRESS_MS);
        return this.#settle(0);
      case "empty":
        this.#send({});
        return;
      case "write":
        return this.#write(one.ops);
      case "compact": {
        const init = { revision: BigInt(this.#head - one.back) };
        const message = toBinary(pb.CompactionRequestSchema, create(pb.CompactionRequestSchema, init));
        const told = await this.#endpoint.unary("/etcdserverpb.KV/Compact", message).then(
          () => "ok",
          (error: unknown) => (error instanceof RpcFailure ? error.text : Promise.reject(error)),
        );
        this.#note("compact", told);
      }
    }
  }

  async #write(ops: readonly { key: string; value: string | null }[]): Promise<void> {
    const success = ops.map(({ key, value }) => ({
      request:
        value === null
          ? ({ case: "requestDeleteRange", value: { key: bytes(key) } } as const)
          : ({ case: "requestPut", value: { key: bytes(key), value: bytes(value) } } as const),
    }));
    const message = toBinary(pb.TxnRequestSchema, create(pb.TxnRequestSchema, { success }));
    const answer = fromBinary(pb.TxnResponseSchema, await this.#endpoint.unary("/etcdserverpb.KV/Txn", message));
    this.#head = Number(answer.header!.revision);
  }

  /** Waits until all that is at hand has been told: a write of the sentinel's comes after it. */
  async #settle(beforeMs: number): Promise<void> {
    if (beforeMs > 0) await sleep(beforeMs);
    await this.#write([{ key: "~", value: "" }]);
    await this.#until(() => this.#seen >= this.#head, `revision ${this.#head} is told of`);
  }

  async #until(holds: () => boolean, what: string): Promise<void> {
    const deadlineMs = performance.now() + SETTLE_TIMEOUT_MS;
    while (!holds()) {
      if (performance.now() > deadlineMs) throw new Error(`not in time: ${what}`);
      await sleep(2);
    }
  }

  #send(init: MessageInitShape<typeof pb.WatchRequestSchema>): void {
    this.#stream.send(toBinary(pb.WatchRequestSchema, create(pb.WatchRequestSchema, init)));
  }

  async #read(): Promise<void> {
    for (;;) {
      let message: Uint8Array | null;
      try {
        message = await this.#stream.next(READ_TIMEOUT_MS);
      } catch (error) {
        if (this.#ended) return;
        throw error;
      }
      if (message === null || this.#ended) return;
      const told = fromBinary(pb.WatchResponseSchema, message);
      if (told.created) this.#created++;
      if (told.watchId === SENTINEL) {
        this.#seen = Number(told.header!.revision);
        continue;
      }
      const { watchId, created, canceled, compactRevision, cancelReason, fragment, header } = told;
      const events = told.events.map(({ type, kv, prevKv }) => [type, kvText(kv), kvText(prevKv)].join(" "));
      const line = [`rev ${header?.revision}`, created, canceled, compactRevision, cancelReason, fragment, ...events];
      this.#note(String(watchId), line.join(", "));
      if (created || watchId === -1n) this.#note("order", `${watchId} ${created} ${canceled} ${header?.revision}`);
    }
  }

  #note(id: string, line: string): void {
    const before = this.#told.get(id);
    if (before === undefined) this.#told.set(id, [line]);
    else before.push(line);
  }
}

const SENTINEL = 999n;
const SETTLE_TIMEOUT_MS = 10_000;
const READ_TIMEOUT_MS = 600_000;

function kvText(kv: pb.RangeResponse["kvs"][number] | undefined): string {
  if (kv === undefined) return "-";
  const { key, value, createRevision, modRevision, version, lease } = kv;
  return [Buffer.from(key), Buffer.from(value), createRevision, modRevision, version, lease].join("|");
}
