import { DbError } from "../../base/errors.ts";
import type { DeleteRangeRequest, PlainPuts, RequestOp, TxnRequest } from "../engine.ts";

/**
 * T5: within one branch of a transaction, through all levels below it, no key is put twice, and none is put that a
 * delete of its own level, or of an *earlier* nested transaction, covers. etcd looks at a level's deletes first, then
 * at its nested transactions in order, then at its puts. So of two nested siblings
 *
 *   {put k} {delete k}   passes: the delete is not known yet when the put is looked at
 *   {delete k} {put k}   is refused
 *
 * THEN and ELSE of one nested transaction may both put a key: only one of them runs. A delete's range counts here only
 * if its end is greater than its key: "\0" (all from the key on) does not, as in etcd (tried with 3.6.16), so such a
 * transaction may put and delete one key.
 */
export function checkDuplicateKeys(ops: readonly RequestOp[]): void {
  if (ops.length < 2 && ops[0]?.kind !== "txn") return;
  if (!arePutsInOrder(ops)) walk(ops);
}

/** The same for puts alone. */
export function checkDuplicatePuts({ keys, inOrder }: PlainPuts): void {
  if (!inOrder && new Set(keys).size !== keys.length) throw new DbError("duplicateKey");
}

/** What is loaded comes so, mostly: then no key is twice, and nothing need be remembered to know it. */
function arePutsInOrder(ops: readonly RequestOp[]): boolean {
  let last = "";
  for (const op of ops) {
    if (op.kind !== "put" || op.key <= last) return false;
    last = op.key;
  }
  return true;
}

/** What a branch may write: keys that it puts, and what it deletes. */
class Written {
  readonly puts = new Set<string>();
  readonly deletes = new DeletedKeys();

  put(key: string): void {
    if (this.deletes.has(key)) throw new DbError("duplicateKey");
    this.puts.add(key);
  }
}

function walk(ops: readonly RequestOp[]): Written {
  const written = new Written();
  for (const op of ops) if (op.kind === "deleteRange") written.deletes.add(op);
  for (const op of ops) if (op.kind === "txn") addNested(written, op);
  for (const op of ops) {
    if (op.kind !== "put") continue;
    if (written.puts.has(op.key)) throw new DbError("duplicateKey");
    written.put(op.key);
  }
  return written;
}

function addNested(written: Written, nested: TxnRequest): void {
  const success = walk(nested.success);
  const failure = walk(nested.failure);
  for (const key of success.puts) {
    if (written.puts.has(key)) throw new DbError("duplicateKey");
    written.put(key);
  }
  for (const key of failure.puts) {
    if (written.puts.has(key) && !success.puts.has(key)) throw new DbError("duplicateKey");
    written.put(key);
  }
  written.deletes.addAll(success.deletes);
  written.deletes.addAll(failure.deletes);
}

/**
 * A set of keys and ranges, told quickly whether it has a key: a hostile transaction holds a hundred thousand of them.
 */
export class DeletedKeys {
  readonly #keys = new Set<string>();
  /** Disjoint, ascending: #starts[i] to #ends[i]. */
  readonly #starts: string[] = [];
  readonly #ends: string[] = [];

  add({ key, rangeEnd }: Pick<DeleteRangeRequest, "key" | "rangeEnd">): void {
    if (rangeEnd === "") this.#keys.add(key);
    else if (key < rangeEnd) this.#addRange(key, rangeEnd);
  }

  addAll(other: DeletedKeys): void {
    for (const key of other.#keys) this.#keys.add(key);
    for (let i = 0; i < other.#starts.length; i++) this.#addRange(other.#starts[i]!, other.#ends[i]!);
  }

  has(key: string): boolean {
    if (this.#keys.has(key)) return true;
    const i = this.#firstEndingAfter(key);
    return i < this.#starts.length && this.#starts[i]! <= key;
  }

  #addRange(start: string, end: string): void {
    const from = this.#firstEndingAfter(start);
    let to = from;
    while (to < this.#starts.length && this.#starts[to]! < end) to++;
    if (to > from) {
      if (this.#starts[from]! < start) start = this.#starts[from]!;
      if (this.#ends[to - 1]! > end) end = this.#ends[to - 1]!;
    }
    this.#starts.splice(from, to - from, start);
    this.#ends.splice(from, to - from, end);
  }

  #firstEndingAfter(key: string): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ends[middle]! > key) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
