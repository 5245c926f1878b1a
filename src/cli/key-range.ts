import { UsageError } from "./errors.ts";

/**
 * The end of the range of all keys that begin with `prefix`: its last byte below 0xff plus one; "\0" where there is
 * none.
 */
export function prefixEnd(prefix: Buffer): Buffer {
  for (let last = prefix.length - 1; last >= 0; last--) {
    if (prefix[last]! < 0xff) {
      const end = Buffer.from(prefix.subarray(0, last + 1));
      end[last]! += 1;
      return end;
    }
  }
  return Buffer.of(0);
}

export interface RangeOptions {
  prefix?: boolean;
  fromKey?: boolean;
}

/** Key and range end as etcdctl reads them from its arguments; `what` names the command in errors. */
export function keyRange(
  what: string,
  args: readonly string[],
  { prefix, fromKey }: RangeOptions,
): { key: Buffer; rangeEnd: Buffer } {
  if (prefix && fromKey) throw new UsageError("`--prefix` and `--from-key` cannot be set at the same time, choose one");
  if (args.length === 0 || args.length > 2) {
    throw new UsageError(`${what} command needs one argument as key and an optional argument as range_end`);
  }
  const given = Buffer.from(args[0]!);
  if (args.length === 2) {
    if (prefix || fromKey) {
      throw new UsageError("too many arguments, only accept one argument when `--prefix` or `--from-key` is set");
    }
    return { key: given, rangeEnd: Buffer.from(args[1]!) };
  }
  if (prefix && given.length > 0) return { key: given, rangeEnd: prefixEnd(given) };
  const key = given.length === 0 && (prefix || fromKey) ? Buffer.of(0) : given;
  return { key, rangeEnd: prefix || fromKey ? Buffer.of(0) : Buffer.alloc(0) };
}
