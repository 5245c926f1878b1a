import { assert } from "../base/assert.ts";
import type { Effect, KeyRange, Version } from "./storage.ts";

const KEYS_MAX = 64;
const CHILDREN_MAX = 64;

/** A version in a memtable. `sum` is the sum of this key's effects in this memtable up to and with this version. */
export class MemoryVersion implements Version {
  readonly key: string;
  readonly main: number;
  readonly sub: number;
  readonly tombstone: boolean;
  readonly effect: Effect;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly sum: number;

  constructor(
    key: string,
    main: number,
    sub: number,
    tombstone: boolean,
    effect: Effect,
    bytes: Uint8Array,
    start: number,
    end: number,
    sum: number,
  ) {
    this.key = key;
    this.main = main;
    this.sub = sub;
    this.tombstone = tombstone;
    this.effect = effect;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.sum = sum;
  }
}

/** A key with its versions. */
export class MemoryKey {
  readonly key: string;
  newest: MemoryVersion;
  /** All but the newest, oldest first; null for none. */
  older: MemoryVersion[] | null = null;
  /** Greatest main of a version whose effect is not 0; 0 for none. */
  effectMain: number;

  constructor(key: string, newest: MemoryVersion) {
    this.key = key;
    this.newest = newest;
    this.effectMain = newest.effect === 0 ? 0 : newest.main;
  }

  /** The newest version that is not newer than `at`, be it a tombstone; null for none. */
  versionAt(at: number): MemoryVersion | null {
    if (this.newest.main <= at) return this.newest;
    const older = this.older;
    if (older === null) return null;
    let low = 0;
    let high = older.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (older[middle]!.main <= at) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? null : older[low - 1]!;
  }
}

/** A node of the B+tree: a leaf has `entries`, an inner node `children` (one more than `keys`, which separate them). */
class Node {
  parent: Node | null = null;
  keys: string[];
  readonly children: Node[] | null;
  readonly entries: MemoryKey[] | null;
  next: Node | null = null;
  previous: Node | null = null;
  /** Sum of all effects below. */
  sum = 0;
  /** Greatest main with a non-zero effect below: a count at a revision not below it needs no look inside. */
  effectMain = 0;

  constructor(keys: string[], children: Node[] | null, entries: MemoryKey[] | null) {
    this.keys = keys;
    this.children = children;
    this.entries = entries;
  }

  /** Makes `sum` and `effectMain` anew from what is below. */
  reckon(): void {
    let sum = 0;
    let effectMain = 0;
    if (this.entries !== null) {
      for (const entry of this.entries) {
        sum += entry.newest.sum;
        if (entry.effectMain > effectMain) effectMain = entry.effectMain;
      }
    } else {
      for (const child of this.children!) {
        sum += child.sum;
        if (child.effectMain > effectMain) effectMain = child.effectMain;
      }
    }
    this.sum = sum;
    this.effectMain = effectMain;
  }
}

/** Number of `keys` that are < key. */
function countBelow(keys: string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Number of `keys` that are <= key. */
function countUpTo(keys: string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function insertAt<T>(array: T[], at: number, value: T): void {
  array.push(value);
  for (let i = array.length - 1; i > at; i--) array[i] = array[i - 1]!;
  array[at] = value;
}

/**
 * The keys of one space in a memtable: a B+tree for order and counts, a hash map for point reads and for
 * overwriting (which changes no count, so that it need not descend). Keys are added, never removed.
 */
export class MemoryKeys {
  readonly #byKey = new Map<string, MemoryKey>();
  #root = new Node([], null, []);
  /** The leaf of the last insertion: keys often come in order. */
  #finger = this.#root;
  /** Grows with each new key; a cursor then has to find its place again. */
  changes = 0;

  get size(): number {
    return this.#byKey.size;
  }

  find(key: string): MemoryKey | undefined {
    return this.#byKey.get(key);
  }

  /** Adds a key that is not there yet. */
  insert(entry: MemoryKey): void {
    const key = entry.key;
    this.changes++;
    this.#byKey.set(key, entry);
    const leaf = this.#fits(this.#finger, key) ? this.#finger : this.#leafOf(key);
    const at = countBelow(leaf.keys, key);
    const last = at === leaf.keys.length;
    insertAt(leaf.keys, at, key);
    insertAt(leaf.entries!, at, entry);
    this.#finger = leaf;
    this.#addEffect(leaf, entry.newest.effect, entry.newest.main);
    if (leaf.keys.length > KEYS_MAX) {
      const right = this.#splitLeaf(leaf, last ? KEYS_MAX : KEYS_MAX >> 1);
      if (last) this.#finger = right;
    }
  }

  /** A version with this effect was added to `key`, which is there. */
  addEffect(key: string, effect: Effect, main: number): void {
    this.#addEffect(this.#leafOf(key), effect, main);
  }

  /** Sum of the effects of versions not newer than `at`, of keys in `range`. */
  count(range: KeyRange, at: number): number {
    if (range.to !== null && range.to <= range.from) return 0;
    return countIn(this.#root, range.from === "" ? null : range.from, range.to, at);
  }

  /** Where the first key >= `key` is. */
  seek(place: Place, key: string): void {
    const leaf = this.#leafOf(key);
    place.leaf = leaf;
    place.index = countBelow(leaf.keys, key);
    if (place.index === leaf.keys.length && leaf.next !== null) {
      place.leaf = leaf.next;
      place.index = 0;
    }
  }

  /** Where the last key < `key` is (null: the last key of all); index −1 if there is none. */
  seekBefore(place: Place, key: string | null): void {
    const leaf = key === null ? this.#lastLeaf() : this.#leafOf(key);
    place.leaf = leaf;
    place.index = (key === null ? leaf.keys.length : countBelow(leaf.keys, key)) - 1;
    if (place.index < 0 && leaf.previous !== null) {
      place.leaf = leaf.previous;
      place.index = leaf.previous.keys.length - 1;
    }
  }

  #fits(leaf: Node, key: string): boolean {
    const keys = leaf.keys;
    return keys.length > 0 && keys[0]! <= key && (leaf.next === null || key < leaf.next.keys[0]!);
  }

  #leafOf(key: string): Node {
    let node = this.#root;
    while (node.children !== null) node = node.children[countUpTo(node.keys, key)]!;
    return node;
  }

  #lastLeaf(): Node {
    let node = this.#root;
    while (node.children !== null) node = node.children[node.children.length - 1]!;
    return node;
  }

  #addEffect(leaf: Node, effect: Effect, main: number): void {
    if (effect === 0) return;
    for (let node: Node | null = leaf; node !== null; node = node.parent) {
      node.sum += effect;
      if (main > node.effectMain) node.effectMain = main;
    }
  }

  #splitLeaf(leaf: Node, at: number): Node {
    const right = new Node(leaf.keys.splice(at), null, leaf.entries!.splice(at));
    right.next = leaf.next;
    if (right.next !== null) right.next.previous = right;
    right.previous = leaf;
    leaf.next = right;
    leaf.reckon();
    right.reckon();
    this.#addChild(leaf, right.keys[0]!, right);
    return right;
  }

  /** Hangs `right` into the tree beside `left`; `separator` is its least key. */
  #addChild(left: Node, separator: string, right: Node): void {
    const parent = left.parent;
    if (parent === null) {
      this.#root = new Node([separator], [left, right], null);
      left.parent = this.#root;
      right.parent = this.#root;
      this.#root.reckon();
      return;
    }
    const at = countUpTo(parent.keys, separator);
    insertAt(parent.keys, at, separator);
    insertAt(parent.children!, at + 1, right);
    right.parent = parent;
    if (parent.children!.length > CHILDREN_MAX) {
      const cut = at + 2 === parent.children!.length ? CHILDREN_MAX - 1 : CHILDREN_MAX >> 1;
      this.#splitInner(parent, cut);
    }
  }

  /** Children from `cut` + 1 on go to a new node on the right. */
  #splitInner(node: Node, cut: number): void {
    const keys = node.keys.splice(cut + 1);
    const separator = node.keys.pop();
    assert(separator !== undefined, "an inner node that is split has a key to give up");
    const right = new Node(keys, node.children!.splice(cut + 1), null);
    for (const child of right.children!) child.parent = right;
    node.reckon();
    right.reckon();
    this.#addChild(node, separator, right);
  }
}

/** A place in the tree: entry `index` of `leaf`. */
export class Place {
  leaf: Node | null = null;
  index = 0;

  entry(): MemoryKey | null {
    return this.leaf === null ? null : (this.leaf.entries![this.index] ?? null);
  }

  forward(): void {
    const leaf = this.leaf!;
    if (++this.index < leaf.keys.length || leaf.next === null) return;
    this.leaf = leaf.next;
    this.index = 0;
  }

  backward(): void {
    const leaf = this.leaf!;
    if (--this.index >= 0 || leaf.previous === null) return;
    this.leaf = leaf.previous;
    this.index = leaf.previous.keys.length - 1;
  }
}

/** `from`, `to`: null where the node is known to be wholly inside on that side. */
function countIn(node: Node, from: string | null, to: string | null, at: number): number {
  if (from === null && to === null && node.effectMain <= at) return node.sum;
  const first = from === null ? 0 : node.entries !== null ? countBelow(node.keys, from) : countUpTo(node.keys, from);
  let sum = 0;
  if (node.entries !== null) {
    const end = to === null ? node.keys.length : countBelow(node.keys, to);
    for (let i = first; i < end; i++) {
      const entry = node.entries[i]!;
      sum += entry.effectMain <= at ? entry.newest.sum : (entry.versionAt(at)?.sum ?? 0);
    }
    return sum;
  }
  const last = to === null ? node.keys.length : countBelow(node.keys, to);
  for (let i = first; i <= last; i++) {
    sum += countIn(node.children![i]!, i === first ? from : null, i === last ? to : null, at);
  }
  return sum;
}
