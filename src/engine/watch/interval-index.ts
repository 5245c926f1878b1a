/**
 * Which watchers want a key: single keys by hash, ranges [from, to) by a treap that keeps the greatest end below each
 * node. Watchers of the same range share a node, so a stab costs O(log ranges + ranges hit), whatever the watchers.
 */
export class IntervalIndex<T> {
  readonly #keys = new Map<string, Set<T>>();
  #root: Node<T> | null = null;

  /** `to` undefined: the single key `from`; null: all keys from `from` on. */
  add(from: string, to: string | null | undefined, value: T): void {
    if (to === undefined) {
      const set = this.#keys.get(from);
      if (set === undefined) this.#keys.set(from, new Set([value]));
      else set.add(value);
      return;
    }
    this.#root = insert(this.#root, from, to, value);
  }

  remove(from: string, to: string | null | undefined, value: T): void {
    if (to !== undefined) {
      this.#root = remove(this.#root, from, to, value);
      return;
    }
    const set = this.#keys.get(from);
    if (set?.delete(value) && set.size === 0) this.#keys.delete(from);
  }

  /** Calls `hit` for each value whose key or range holds `key`. The index must not be changed meanwhile. */
  stab(key: string, hit: (value: T) => void): void {
    const exact = this.#keys.get(key);
    if (exact !== undefined) for (const value of exact) hit(value);
    if (this.#root !== null) stab(this.#root, key, hit);
  }
}

interface Node<T> {
  readonly from: string;
  readonly to: string | null;
  readonly values: Set<T>;
  readonly priority: number;
  left: Node<T> | null;
  right: Node<T> | null;
  /** The greatest `to` of the subtree; null is beyond every key. */
  greatestTo: string | null;
}

/** Ranges are ordered by (from, to), an open end last. */
function compare(from: string, to: string | null, node: Node<unknown>): number {
  if (from !== node.from) return from < node.from ? -1 : 1;
  if (to === node.to) return 0;
  if (to === null) return 1;
  return node.to === null || to < node.to ? -1 : 1;
}

const later = (a: string | null, b: string | null): string | null => (a === null || b === null ? null : a > b ? a : b);

function update<T>(node: Node<T>): Node<T> {
  let greatest = node.to;
  if (node.left !== null) greatest = later(greatest, node.left.greatestTo);
  if (node.right !== null) greatest = later(greatest, node.right.greatestTo);
  node.greatestTo = greatest;
  return node;
}

/** A priority that depends on the range alone (FNV-1a, then mixed), so that equal histories make equal trees. */
function priorityOf(from: string, to: string | null): number {
  let h = 0x811c9dc5;
  const text = to === null ? `${from}\u0100` : `${from}\u0101${to}`;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x45d9f3b);
  return (h ^ (h >>> 15)) >>> 0;
}

function insert<T>(node: Node<T> | null, from: string, to: string | null, value: T): Node<T> {
  if (node === null) {
    const priority = priorityOf(from, to);
    return { from, to, values: new Set([value]), priority, left: null, right: null, greatestTo: to };
  }
  const order = compare(from, to, node);
  if (order === 0) {
    node.values.add(value);
    return node;
  }
  if (order < 0) {
    node.left = insert(node.left, from, to, value);
    if (node.left.priority > node.priority) return rotateRight(node, node.left);
  } else {
    node.right = insert(node.right, from, to, value);
    if (node.right.priority > node.priority) return rotateLeft(node, node.right);
  }
  return update(node);
}

function rotateRight<T>(node: Node<T>, left: Node<T>): Node<T> {
  node.left = left.right;
  left.right = update(node);
  return update(left);
}

function rotateLeft<T>(node: Node<T>, right: Node<T>): Node<T> {
  node.right = right.left;
  right.left = update(node);
  return update(right);
}

function remove<T>(node: Node<T> | null, from: string, to: string | null, value: T): Node<T> | null {
  if (node === null) return null;
  const order = compare(from, to, node);
  if (order < 0) node.left = remove(node.left, from, to, value);
  else if (order > 0) node.right = remove(node.right, from, to, value);
  else {
    node.values.delete(value);
    if (node.values.size === 0) return join(node.left, node.right);
  }
  return update(node);
}

/** All of `left` is before all of `right`. */
function join<T>(left: Node<T> | null, right: Node<T> | null): Node<T> | null {
  if (left === null) return right;
  if (right === null) return left;
  if (left.priority > right.priority) {
    left.right = join(left.right, right);
    return update(left);
  }
  right.left = join(left, right.left);
  return update(right);
}

function stab<T>(node: Node<T>, key: string, hit: (value: T) => void): void {
  if (node.greatestTo !== null && node.greatestTo <= key) return;
  if (node.left !== null) stab(node.left, key, hit);
  if (node.from > key) return;
  if (node.to === null || key < node.to) for (const value of node.values) hit(value);
  if (node.right !== null) stab(node.right, key, hit);
}
