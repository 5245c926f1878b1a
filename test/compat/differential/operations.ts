/**
 * Random operations. An operation is plain data that means the same whatever came before it: revisions are given as
 * distances
 * from the head at the time, so that leaving operations out (to shrink a failure) leaves the others as they are.
 */

export type Key = string;

/** A revision: absolute if small or negative on purpose, else so far back from the head (negative: in the future). */
export type RevisionChoice = { readonly absolute: number } | { readonly back: number };

export interface RangeSpec {
  readonly kind: "range";
  readonly key: Key;
  readonly end: Key;
  readonly limit: number;
  readonly revision: RevisionChoice;
  readonly sortOrder: number;
  readonly sortTarget: number;
  readonly serializable: boolean;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
  readonly minMod: RevisionChoice;
  readonly maxMod: RevisionChoice;
  readonly minCreate: RevisionChoice;
  readonly maxCreate: RevisionChoice;
}
export interface PutSpec {
  readonly kind: "put";
  readonly key: Key;
  readonly value: string;
  readonly lease: number;
  readonly prevKv: boolean;
  readonly ignoreValue: boolean;
  readonly ignoreLease: boolean;
}
export interface DeleteSpec {
  readonly kind: "delete";
  readonly key: Key;
  readonly end: Key;
  readonly prevKv: boolean;
}
export interface CompareSpec {
  readonly key: Key;
  readonly end: Key;
  readonly result: number;
  readonly target: number;
  /** Of targets that are numbers: a revision, else a small number. */
  readonly operand: RevisionChoice | string;
}
export interface TxnSpec {
  readonly kind: "txn";
  readonly compare: readonly CompareSpec[];
  readonly success: readonly TxnOperation[];
  readonly failure: readonly TxnOperation[];
}
export type TxnOperation = RangeSpec | PutSpec | DeleteSpec | TxnSpec | { readonly kind: "empty" };

export interface WatchSpec {
  readonly key: Key;
  readonly end: Key;
  readonly start: RevisionChoice;
  readonly filters: readonly number[];
  readonly prevKv: boolean;
  readonly fragment: boolean;
}

export type LeaseOperation =
  | { readonly kind: "grant"; readonly id: number; readonly ttl: number }
  | { readonly kind: "revoke"; readonly id: number }
  | { readonly kind: "keepAlive"; readonly id: number }
  | { readonly kind: "timeToLive"; readonly id: number }
  | { readonly kind: "leases" };

export interface PeriodSpec {
  readonly kind: "period";
  readonly compact: RevisionChoice | null;
  readonly watches: readonly WatchSpec[];
}

export type Operation =
  | RangeSpec
  | PutSpec
  | DeleteSpec
  | TxnSpec
  | LeaseOperation
  /**
   * Ends the watches there are, compacts, then begins the given ones. Alone in touching watches, so that no
   * compaction races them.
   */
  | PeriodSpec;

/** mulberry32: small, seeded, good enough to choose operations by. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  one<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  list<T>(max: number, make: () => T): T[] {
    return Array.from({ length: this.below(max + 1) }, make);
  }
}

const keys = ["a", "a\0", "aa", "ab", "b", "ba", "c", "d", "d\xff", "e", "\0", "\xff", "\xff\xff"];
const values = ["", "0", "1", "x", "xy", "value", "\0\xff"];
const leaseIds = [1, 2, 3, -4];
const NONE: RevisionChoice = { absolute: 0 };
/** Operations between two periods. */
const PERIOD = 150;

export function* randomOperations(seed: number): Generator<Operation, never> {
  const dice = new Dice(seed);
  for (let n = 0; ; n++) yield n % PERIOD === 0 ? period(dice) : operation(dice);
}

function operation(dice: Dice): Operation {
  const roll = dice.next();
  if (roll < 0.3) return put(dice);
  if (roll < 0.55) return range(dice);
  if (roll < 0.65) return remove(dice);
  if (roll < 0.9) return txn(dice, 0);
  const id = dice.one(leaseIds);
  if (roll < 0.94) return { kind: "grant", id, ttl: dice.one([1000, 5000, 9_000_000_001]) };
  if (roll < 0.96) return { kind: "revoke", id };
  return dice.chance(0.1) ? { kind: "leases" } : { kind: dice.one(["keepAlive", "timeToLive"]), id };
}

function put(dice: Dice, mayIgnore = true): PutSpec {
  const ignoreValue = mayIgnore && dice.chance(0.08);
  const ignoreLease = mayIgnore && dice.chance(0.08);
  return {
    kind: "put",
    key: someKey(dice),
    value: ignoreValue && dice.chance(0.8) ? "" : dice.one(values),
    lease: dice.chance(0.2) && !(ignoreLease && dice.chance(0.8)) ? dice.one(leaseIds) : 0,
    prevKv: dice.chance(0.3),
    ignoreValue,
    ignoreLease,
  };
}

const someKey = (dice: Dice): Key => (dice.chance(0.01) ? "" : dice.one(keys));
const someEnd = (dice: Dice): Key => (dice.chance(0.2) ? "\0" : dice.one([...keys, "z"]));

function someRevision(dice: Dice, likely: number): RevisionChoice {
  if (!dice.chance(likely)) return NONE;
  if (dice.chance(0.03)) return { absolute: dice.one([-1, -2, 1, 2]) };
  return { back: dice.below(60) - 2 };
}

function range(dice: Dice): RangeSpec {
  const wide = dice.chance(0.75);
  const sorted = dice.chance(0.4);
  return {
    kind: "range",
    key: someKey(dice),
    end: wide ? someEnd(dice) : "",
    limit: dice.chance(0.4) ? dice.below(8) - 1 : 0,
    revision: someRevision(dice, 0.3),
    sortOrder: sorted ? dice.below(dice.chance(0.02) ? 4 : 3) : 0,
    sortTarget: sorted ? dice.below(dice.chance(0.02) ? 6 : 5) : 0,
    serializable: dice.chance(0.2),
    keysOnly: dice.chance(0.15),
    countOnly: dice.chance(0.1),
    minMod: someRevision(dice, 0.06),
    maxMod: someRevision(dice, 0.06),
    minCreate: someRevision(dice, 0.06),
    maxCreate: someRevision(dice, 0.06),
  };
}

const remove = (dice: Dice, mayBeOpen = true): DeleteSpec => ({
  kind: "delete",
  key: someKey(dice),
  end: dice.chance(0.4) ? (mayBeOpen ? someEnd(dice) : dice.one(keys.slice(0, 10))) : "",
  prevKv: dice.chance(0.4),
});

/**
 * Not both in one transaction: a delete whose range has no end, and a put that keeps the value or lease of before.
 * etcd's check
 * for duplicate keys does not see the first, so that both may meet in one key: etcd then ends itself (Q10).
 */
function txn(dice: Dice, depth: number, mayIgnore = dice.chance(0.5)): TxnSpec {
  const inner = (): TxnOperation => {
    const roll = dice.next();
    if (roll < 0.35) return put(dice, mayIgnore);
    if (roll < 0.65) return range(dice);
    if (roll < 0.8) return remove(dice, !mayIgnore);
    if (roll < 0.805) return { kind: "empty" };
    return depth < 3 ? txn(dice, depth + 1, mayIgnore) : range(dice);
  };
  return {
    kind: "txn",
    compare: dice.list(2, () => compare(dice)),
    success: dice.list(3, inner),
    failure: dice.list(3, inner),
  };
}

const VALUE_TARGET = 3;

function compare(dice: Dice): CompareSpec {
  const target = dice.below(dice.chance(0.02) ? 6 : 5);
  const small: RevisionChoice = { absolute: dice.below(4) };
  return {
    key: someKey(dice),
    end: dice.chance(0.25) ? someEnd(dice) : "",
    result: dice.below(dice.chance(0.02) ? 5 : 4),
    target,
    operand: target === VALUE_TARGET ? dice.one(values) : dice.chance(0.5) ? small : { back: dice.below(20) },
  };
}

function period(dice: Dice): Operation {
  const watch = (): WatchSpec => ({
    key: dice.one(["", ...keys]),
    end: dice.chance(0.7) ? someEnd(dice) : "",
    start: someRevision(dice, 0.6),
    filters: dice.list(1, () => dice.below(2)),
    prevKv: dice.chance(0.6),
    fragment: dice.chance(0.2),
  });
  return {
    kind: "period",
    compact: dice.chance(0.5) ? { back: dice.below(80) - 1 } : null,
    watches: dice.list(4, watch),
  };
}
