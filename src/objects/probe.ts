import { DbError, isDbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { prefixes, probeKey, probePassedKey } from "./keys.ts";
import type { ObjectStore, PutCondition, PutOutcome, RequestOptions } from "./objects.ts";
import { Register } from "./register.ts";
import { RetryBudget } from "./retry.ts";

export type ProbeRuntime = Pick<Runtime, "clock" | "timers" | "random">;

/** Rounds run beside each other, each on a key of its own. */
const ROUNDS = 3;
const RACERS = 4;
/** Whole tests, where answers are lost: what a lost one would have shown is asked anew. */
const ATTEMPTS_MAX = 5;
/** Grows when the test asks for more than before: stores are then tested again. */
const PROBE_VERSION = 1;
/** The server behind a name may be replaced or set up anew. */
const PASSED_FOR_MS = 7 * 24 * 3_600_000;
/** Objects of a probe that did not come to its end. */
const LEFT_OVER_MS = 3_600_000;

interface Passed {
  version: number;
  /** The store's name: a bucket that was copied elsewhere is tested anew. */
  store: string;
  wallMs: number;
}

/**
 * The start-up test of a store. Every promise that t4 makes rests on "of racing conditional writes one wins", and there
 * are servers that ignore the conditions, or check them and then write. Throws `storeRefused` saying what the store did
 * wrong, `storeUnavailable` when it could not be told.
 *
 * A pass is recorded in the repository (`probe/passed`) and holds for 7 days for the store of that name, so a start
 * costs one GET; the test itself is about 40 requests, in seven steps one after another. A record that is damaged is
 * worth nothing and costs nothing: the store is tested again and the record made anew ("repaired").
 */
export async function ensureStoreHolds(
  store: ObjectStore,
  runtime: ProbeRuntime,
  options: RequestOptions,
): Promise<"tested" | "known" | "repaired"> {
  const budget = new RetryBudget(runtime, options);
  const register = new Register<Passed>(store, probePassedKey, { runtime, decode: decodePassed });
  const passed = await readPassed(register, budget);
  const nowMs = runtime.clock.wallMs();
  if (passed !== null && passed !== "damaged") {
    const { version, store: name, wallMs } = passed.body;
    // Clocks differ: one that is behind the clock of who has tested takes its word too.
    const ageMs = Math.abs(nowMs - wallMs);
    if (version >= PROBE_VERSION && name === store.name && ageMs < PASSED_FOR_MS) return "known";
  }
  await probeUntilDecided(store, runtime, budget);
  // Dying behind this leaves no record: the next start tests again.
  if (passed === "damaged") await store.delete(probePassedKey, budget.request());
  const before = passed === "damaged" ? null : passed;
  // Whoever else has recorded a pass meanwhile did so for the same reason.
  await register.swap(before, { version: PROBE_VERSION, store: store.name, wallMs: nowMs }, budget.request());
  return passed === "damaged" ? "repaired" : "tested";
}

async function readPassed(register: Register<Passed>, budget: RetryBudget) {
  try {
    return await register.read(budget.request());
  } catch (error) {
    if (isDbError(error, "corrupt")) return "damaged";
    throw error;
  }
}

/** Each test has a half of the time left, so that a request that hangs leaves some to the next. */
async function probeUntilDecided(store: ObjectStore, runtime: ProbeRuntime, budget: RetryBudget): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await probeStore(store, runtime, budget.request(budget.leftMs() / 2));
      return;
    } catch (error) {
      if (!isDbError(error, "storeUnavailable") || attempt === ATTEMPTS_MAX || !(await budget.wait())) throw error;
    }
  }
}

/** The test alone, recorded nowhere. */
export async function probeStore(store: ObjectStore, runtime: ProbeRuntime, options: RequestOptions): Promise<void> {
  const budget = new RetryBudget(runtime, options);
  const run = runtime.random.bytes(8).toString("hex");
  const keys = Array.from({ length: ROUNDS }, (_, n) => probeKey(run, n));
  // What is left is removed by a later probe.
  const clear = () => Promise.allSettled(keys.map((key) => store.delete(key, budget.request())));
  try {
    // All of them to their end, so that nothing is written behind the deletes; a refusal says more than a lost answer.
    const rounds = await Promise.allSettled(keys.map((key) => new Round(store, key, budget).run()));
    const failures = rounds.flatMap((round) => (round.status === "rejected" ? [round.reason as unknown] : []));
    const worst = failures.find((failure) => isDbError(failure, "storeRefused")) ?? failures[0];
    if (worst !== undefined) throw worst;
    await checkList(store, keys, budget);
  } catch (error) {
    await clear();
    throw error;
  }
  // What was not deleted, as far as is known, may be read.
  for (const deleted of await clear()) if (deleted.status === "rejected") throw deleted.reason;
  for (const key of keys) {
    if (await store.get(key, budget.request()))
      throw refused(store, `an object can be read after it was deleted (${key})`);
  }
}

const refused = (store: ObjectStore, what: string): DbError =>
  new DbError("storeRefused", `${store.name} cannot hold a database: ${what}`);

class Round {
  readonly #store: ObjectStore;
  readonly #key: ObjectKey;
  readonly #budget: RetryBudget;
  #bodies = 0;

  constructor(store: ObjectStore, key: ObjectKey, budget: RetryBudget) {
    this.#store = store;
    this.#key = key;
    this.#budget = budget;
  }

  async run(): Promise<void> {
    const created = await this.#race({ kind: "absent" }, "create", "If-None-Match");
    await this.#mustFail({ kind: "absent" }, "a create of an object that exists", "If-None-Match");
    const replaced = await this.#race({ kind: "match", etag: created }, "replace", "If-Match");
    await this.#mustFail({ kind: "match", etag: created }, "a replace of a version that is no more", "If-Match");
    await this.#race({ kind: "match", etag: replaced }, "replace", "If-Match");
  }

  /** Several writes at once, of which one must win; gives the winner's etag. */
  async #race(condition: PutCondition, action: string, header: string): Promise<string> {
    const bodies = Array.from({ length: RACERS }, () => this.#body());
    const outcomes = await Promise.all(bodies.map((body) => this.#put(body, condition)));
    const winners = outcomes.flatMap((outcome, n) => (outcome.kind === "written" ? [{ n, etag: outcome.etag }] : []));
    if (winners.length > 1) {
      const what = `${winners.length} of ${RACERS} racing writers were told that they alone did ${action} an object`;
      throw refused(this.#store, `${what}; it does not honour ${header}`);
    }
    const found = await this.#store.get(this.#key, this.#budget.request());
    const undecided = outcomes.find((outcome) => outcome.kind === "unknown" || outcome.kind === "refused");
    if (undecided) throw undecidedBy(undecided);
    const winner = winners[0];
    if (!winner) throw refused(this.#store, `none of ${RACERS} racing writers could ${action} an object`);
    if (!found) throw refused(this.#store, "an object cannot be read after it was written");
    if (!found.body.equals(bodies[winner.n]!))
      throw refused(this.#store, `a writer that lost the race to ${action} wrote`);
    if (found.etag !== winner.etag) throw refused(this.#store, "a write and a read after it give different ETags");
    return winner.etag;
  }

  async #mustFail(condition: PutCondition, what: string, header: string): Promise<void> {
    const outcome = await this.#put(this.#body(), condition);
    if (outcome.kind === "preconditionFailed") return;
    if (outcome.kind === "written") throw refused(this.#store, `it carried out ${what}; it ignores ${header}`);
    throw undecidedBy(outcome);
  }

  /** Never the same twice: an etag that is a hash of the content would repeat, and its old holder be right again. */
  #body(): Buffer {
    return Buffer.from(`${this.#key} ${this.#bodies++}`);
  }

  /** Throttled writes are tried again; one that is refused for good is the store's last word. */
  async #put(body: Buffer, condition: PutCondition): Promise<PutOutcome> {
    for (;;) {
      const outcome = await this.#store.put(this.#key, body, { ...this.#budget.request(), condition });
      if (outcome.kind !== "refused") return outcome;
      if (!outcome.retryable) {
        throw refused(this.#store, `a conditional write was refused: ${messageOf(outcome.cause)}`);
      }
      if (!(await this.#budget.wait())) return outcome;
    }
  }
}

async function checkList(store: ObjectStore, keys: readonly ObjectKey[], budget: RetryBudget): Promise<void> {
  const page = await store.list(prefixes.probes, { ...budget.request(), limit: 1000 });
  const listed = new Map(page.objects.map((object) => [object.key, object]));
  const newestMs = Math.max(...keys.map((key) => listed.get(key)?.modifiedMs ?? 0));
  // With over a thousand leftovers the keys may lie on a later page: then this says nothing.
  if (!page.more && keys.some((key) => !listed.has(key))) {
    throw refused(store, "a list does not show an object that was written before it");
  }
  const old = page.objects.filter(
    ({ key, modifiedMs }) => key !== probePassedKey && newestMs - modifiedMs > LEFT_OVER_MS,
  );
  await Promise.allSettled(old.slice(0, 20).map(({ key }) => store.delete(key, budget.request())));
}

function undecidedBy(outcome: PutOutcome): Error {
  const cause = outcome.kind === "unknown" || outcome.kind === "refused" ? outcome.cause : undefined;
  return new DbError("storeUnavailable", `testing the store: ${messageOf(cause)}`, { cause });
}

export function decodePassed(json: unknown): Passed {
  const { version, store, wallMs } = (json ?? {}) as Partial<Passed>;
  if (!Number.isSafeInteger(version) || typeof store !== "string" || !Number.isSafeInteger(wallMs)) {
    throw new Error("version, store or wallMs is missing");
  }
  return { version: version!, store, wallMs: wallMs! };
}
