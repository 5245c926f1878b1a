import { assert } from "../../src/base/assert.ts";
import { DbError } from "../../src/base/errors.ts";
import type { ObjectKey } from "../../src/base/ids.ts";
import type {
  GetOptions,
  ListOptions,
  ListPage,
  ObjectStore,
  PutOptions,
  PutOutcome,
  RequestOptions,
  StoredObject,
} from "../../src/objects/objects.ts";

/** A PUT under way: the test says when it takes effect, and what its sender is told. */
export class ScriptedPut {
  readonly key: ObjectKey;
  /** As it was when it was sent. */
  readonly body: Buffer;
  /** The sender's own bytes: what a request that is still under way would read. */
  readonly live: Uint8Array;
  readonly resolve: (outcome: PutOutcome) => void;
  readonly #store: ScriptedStore;
  settled = false;

  constructor(store: ScriptedStore, key: ObjectKey, live: Uint8Array, resolve: (outcome: PutOutcome) => void) {
    this.#store = store;
    this.key = key;
    this.body = Buffer.from(live);
    this.live = live;
    this.resolve = resolve;
  }

  /** The slot's number. */
  get slot(): number {
    return Number(this.key.slice(-20));
  }

  /** Takes effect, if the object is not there. */
  apply(): boolean {
    if (this.#store.objects.has(this.key)) return false;
    this.#store.objects.set(this.key, this.body);
    return true;
  }

  /** Takes effect, and its sender learns the outcome. */
  answer(): void {
    this.settle(this.apply() ? { kind: "written", etag: '"1"' } : { kind: "preconditionFailed" });
  }

  /** Its sender gives up; it may still be applied. */
  lose(): void {
    this.settle({ kind: "unknown", cause: new Error("no answer") });
  }

  settle(outcome: PutOutcome): void {
    assert(!this.settled, "a PUT is answered once");
    this.settled = true;
    this.#store.underWay.splice(this.#store.underWay.indexOf(this), 1);
    this.resolve(outcome);
  }
}

/** A store whose PUTs wait for the test. Reads answer at once, from what is there. */
export class ScriptedStore implements ObjectStore {
  readonly name = "scripted:";
  readonly local = false;
  readonly objects = new Map<ObjectKey, Buffer>();
  /** PUTs that nobody has answered, in the order in which they were sent. */
  readonly underWay: ScriptedPut[] = [];
  /** Every PUT ever sent. */
  readonly sent: ScriptedPut[] = [];
  /** Reads fail while this is set. */
  unreachable = false;
  reads = 0;

  put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    assert(options.condition.kind === "absent", "segments are only ever created");
    return new Promise((resolve) => {
      const put = new ScriptedPut(this, key, body, resolve);
      this.underWay.push(put);
      this.sent.push(put);
      options.signal?.addEventListener("abort", () => {
        if (!put.settled) put.lose();
      });
    });
  }

  async get(key: ObjectKey, _options: GetOptions): Promise<StoredObject | null> {
    this.reads++;
    if (this.unreachable) throw new DbError("storeUnavailable", `get ${key}`);
    const body = this.objects.get(key);
    return body ? { body: Buffer.from(body), etag: '"1"', bytes: body.length } : null;
  }

  async list(prefix: string, options: ListOptions): Promise<ListPage> {
    const { startAfter = "", limit } = options;
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > startAfter).sort();
    const objects = keys.slice(0, limit).map((key) => ({ key, bytes: this.objects.get(key)!.length, modifiedMs: 0 }));
    return { objects, more: keys.length > limit };
  }

  async delete(key: ObjectKey, _options: RequestOptions): Promise<void> {
    this.objects.delete(key);
  }

  async close(): Promise<void> {}

  /** Slots of the PUTs under way. */
  get slots(): number[] {
    return this.underWay.map((put) => put.slot);
  }

  /** The PUT under way for a slot. */
  of(slot: number): ScriptedPut {
    const put = this.underWay.find((one) => one.slot === slot);
    assert(put, `a PUT of slot ${slot} is under way (there are ${this.slots})`);
    return put;
  }
}
