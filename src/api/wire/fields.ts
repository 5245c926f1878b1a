import type { WireReader } from "./reader.ts";

/**
 * Reads a message field by field up to the reader's end: `take` is given each tag and reads its value, or tells that it
 * has no case for it. `names` are the known fields by number, as etcd's own decoder names them.
 */
export function readFields(
  reader: WireReader,
  message: string,
  names: readonly (string | undefined)[],
  take: (tag: number) => boolean,
): void {
  while (reader.at < reader.end) if (!take(reader.tag())) reader.other(message, names);
}
