import { assert } from "../base/assert.ts";
import { KeyTable } from "./key-table.ts";
import { grown, MemtableVersions, NO_ROW } from "./memtable-versions.ts";
import type { KeyRange } from "./storage.ts";

const KEYS_MAX = 64;
const CHILDREN_MAX = 64;
const IDS_MIN = 16;

/**
 * A node of the B+tree: a leaf has its keys' numbers in `ids`, an inner node has `children`, one more than `keys`,
 * which separate them.
 */
class Node {
  parent: Node | null = null;
  readonly keys: string[];
  readonly children: Node[] | null;
  readonly ids: number[] | null;
  next: Node | null = null;
  previous: Node | null = null;
  /** Sum of all effects below. */
  sum = 0;
  /** Greatest main with a non-zero effect below: a count at a revision not below it needs no look inside. */
  effectMain = 0;

  constructor(keys: string[], children: Node[] | null, ids: number[] | null) {
    this.keys = keys;
    this.children = children;
    this.ids = ids;
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
 * The keys of one space in a memtable, numbered in the order of their coming, with their versions: a hash table for
 * point reads and for overwriting (which changes no count, so that it need not descend), a B+tree for order and counts.
 * Keys are added, never removed.
 */
export class MemtableKeys {
  readonly versions = new MemtableVersions();
  readonly #table: KeyTable;
  /** Of each key: the row of its newest version; the greatest main of its versions with a non-zero effect (0: none). */
  #newest = new Int32Array(IDS_MIN);
  #effectMains = new Float64Array(IDS_MIN);
  #root = new Node([], null, []);
  /** The leaf of the last insertion: keys often come in order. */
  #finger = this.#root;

  constructor(seed: number) {
    this.#table = new KeyTable(seed);
  }

  /** Number of keys, and the number that the next one gets. */
  get size(): number {
    return this.#table.keys.length;
  }

  get least(): string | null {
    let node = this.#root;
    while (node.children !== null) node = node.children[0]!;
    return node.keys[0] ?? null;
  }

  key(id: number): string {
    return this.#table.keys[id]!;
  }

  /** The key's number, or −1. */
  find(key: string): number {
    return this.#table.find(key);
  }

  /** Row of the key's newest version. */
  newest(id: number): number {
    return this.#newest[id]!;
  }

  /** Row of the newest version of a key that is not newer than `at`, be it a tombstone; NO_ROW for none. */
  rowAt(id: number, at: number): number {
    return this.versions.rowAt(this.#newest[id]!, at);
  }

  /** No key from `first` to `last` is there. */
  isEmptyBetween(first: string, last: string): boolean {
    const leaf = this.#fits(this.#finger, first) ? this.#finger : this.#leafOf(first);
    const next = leaf.keys[countBelow(leaf.keys, first)] ?? leaf.next?.keys[0];
    return next === undefined || next > last;
  }

  /** Keys in order, from `first` on, between which none is, are inserted next: by `insertNext`, nothing in between. */
  beginRun(first: string): void {
    const leaf = this.#fits(this.#finger, first) ? this.#finger : this.#leafOf(first);
    const at = countBelow(leaf.keys, first);
    if (at < leaf.keys.length) this.#splitLeaf(leaf, at);
    this.#finger = leaf;
  }

  /** Adds the next key of a run; its first version is in `row`. */
  insertNext(key: string, row: number): void {
    const id = this.#number(key, row);
    const leaf = this.#finger;
    leaf.keys.push(key);
    leaf.ids!.push(id);
    this.#addEffect(leaf, id, this.versions.effect(row), this.versions.main(row));
    if (leaf.keys.length > KEYS_MAX) this.#finger = this.#splitLeaf(leaf, KEYS_MAX);
  }

  #number(key: string, row: number): number {
    const id = this.#table.add(key);
    if (id === this.#newest.length) {
      this.#newest = grown(this.#newest, new Int32Array(2 * id));
      this.#effectMains = grown(this.#effectMains, new Float64Array(2 * id));
    }
    this.#newest[id] = row;
    return id;
  }

  /** Adds a key that is not there yet; its first version is in `row`. */
  insert(key: string, row: number): void {
    const id = this.#number(key, row);
    const leaf = this.#fits(this.#finger, key) ? this.#finger : this.#leafOf(key);
    const at = countBelow(leaf.keys, key);
    const last = at === leaf.keys.length;
    insertAt(leaf.keys, at, key);
    insertAt(leaf.ids!, at, id);
    this.#finger = leaf;
    this.#addEffect(leaf, id, this.versions.effect(row), this.versions.main(row));
    if (leaf.keys.length > KEYS_MAX) {
      const right = this.#splitLeaf(leaf, last ? KEYS_MAX : KEYS_MAX >> 1);
      if (last) this.#finger = right;
    }
  }

  /** `row` is now the newest version of key `id`, and adds `effect` to the key's sum. */
  setNewest(id: number, row: number, effect: number): void {
    this.#newest[id] = row;
    if (effect !== 0) this.#addEffect(this.#leafOf(this.key(id)), id, effect, this.versions.main(row));
  }

  /** Sum of the effects of versions not newer than `at`, of keys in `range`. */
  count(range: KeyRange, at: number): number {
    if (range.to !== null && range.to <= range.from) return 0;
    return this.#countIn(this.#root, range.from === "" ? null : range.from, range.to, at);
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

  #addEffect(leaf: Node, id: number, effect: number, main: number): void {
    if (effect === 0) return;
    this.#effectMains[id] = main;
    for (let node: Node | null = leaf; node !== null; node = node.parent) {
      node.sum += effect;
      if (main > node.effectMain) node.effectMain = main;
    }
  }

  /** Makes a node's sums anew from what is below it. */
  #reckon(node: Node): void {
    let sum = 0;
    let effectMain = 0;
    if (node.ids !== null) {
      for (const id of node.ids) {
        sum += this.versions.sum(this.#newest[id]!);
        effectMain = Math.max(effectMain, this.#effectMains[id]!);
      }
    } else {
      for (const child of node.children!) {
        sum += child.sum;
        effectMain = Math.max(effectMain, child.effectMain);
      }
    }
    node.sum = sum;
    node.effectMain = effectMain;
  }

  #splitLeaf(leaf: Node, at: number): Node {
    const right = new Node(leaf.keys.splice(at), null, leaf.ids!.splice(at));
    right.next = leaf.next;
    if (right.next !== null) right.next.previous = right;
    right.previous = leaf;
    leaf.next = right;
    this.#reckon(leaf);
    this.#reckon(right);
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
      this.#reckon(this.#root);
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
    this.#reckon(node);
    this.#reckon(right);
    this.#addChild(node, separator, right);
  }

  /** `from`, `to`: null where the node is known to be wholly inside on that side. */
  #countIn(node: Node, from: string | null, to: string | null, at: number): number {
    if (from === null && to === null && node.effectMain <= at) return node.sum;
    if (node.ids !== null) return this.#countLeaf(node, from, to, at);
    const first = from === null ? 0 : countUpTo(node.keys, from);
    const last = to === null ? node.keys.length : countBelow(node.keys, to);
    let sum = 0;
    for (let i = first; i <= last; i++) {
      sum += this.#countIn(node.children![i]!, i === first ? from : null, i === last ? to : null, at);
    }
    return sum;
  }

  #countLeaf(leaf: Node, from: string | null, to: string | null, at: number): number {
    const end = to === null ? leaf.keys.length : countBelow(leaf.keys, to);
    let sum = 0;
    for (let i = from === null ? 0 : countBelow(leaf.keys, from); i < end; i++) {
      const id = leaf.ids![i]!;
      const row = this.#effectMains[id]! <= at ? this.#newest[id]! : this.rowAt(id, at);
      if (row !== NO_ROW) sum += this.versions.sum(row);
    }
    return sum;
  }
}

/** A place in the order of keys: number `index` of `leaf`. */
export class Place {
  leaf: Node | null = null;
  index = 0;

  /** The key's number; −1 beyond either end. */
  id(): number {
    const { leaf, index } = this;
    return leaf === null || index < 0 || index >= leaf.keys.length ? -1 : leaf.ids![index]!;
  }

  key(): string {
    return this.leaf!.keys[this.index]!;
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
