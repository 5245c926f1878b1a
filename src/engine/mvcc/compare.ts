import { unreachable } from "../../base/assert.ts";
import { KEYS } from "../../storage/storage.ts";
import type { Compare, CompareResult, Row } from "../engine.ts";
import type { Reads } from "../reads.ts";
import { keyRange } from "./key-range.ts";
import { KeyValueReader } from "./key-value.ts";

/**
 * T6, T7: it must hold for every key; where there is none, for a pair of zeros, but of a value that is not there
 * nothing holds.
 */
export function holds(reads: Reads, compare: Compare): boolean {
  if (compare.rangeEnd === "") return holdsFor(compare, reads.get(compare.key));
  const versions = reads.scan(KEYS, keyRange(compare.key, compare.rangeEnd));
  if (versions.length === 0) return holdsFor(compare, null);
  return versions.every((version) => holdsFor(compare, version));
}

const pair = new KeyValueReader();

function holdsFor(compare: Compare, row: Row | null): boolean {
  switch (compare.target) {
    case "value":
      return row !== null && verdict(compare.result, Buffer.compare(pair.read(row).value, compare.operand));
    case "mod":
      return verdict(compare.result, order(row === null ? 0 : pair.read(row).modRevision, compare.operand));
    case "create":
      return verdict(compare.result, order(row === null ? 0 : pair.read(row).createRevision, compare.operand));
    case "version":
      return verdict(compare.result, order(row === null ? 0 : pair.read(row).version, compare.operand));
    case "lease":
      return verdict(compare.result, orderExact(row === null ? 0n : pair.read(row).lease, compare.operand));
    case "unknown":
      return verdict(compare.result, 0); // as etcd: neither greater nor less
    default:
      return unreachable(compare);
  }
}

/** `actual` is a safe integer; an operand that is none rounds to one that is not safe, so the order stays right. */
function order(actual: number, operand: bigint): number {
  const given = Number(operand);
  return actual < given ? -1 : actual > given ? 1 : 0;
}

const orderExact = (actual: bigint, given: bigint): number => (actual < given ? -1 : actual > given ? 1 : 0);

function verdict(result: CompareResult, order: number): boolean {
  switch (result) {
    case "equal":
      return order === 0;
    case "notEqual":
      return order !== 0;
    case "greater":
      return order > 0;
    case "less":
      return order < 0;
    case "unknown":
      return true;
    default:
      return unreachable(result);
  }
}
