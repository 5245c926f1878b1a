import { hash } from "node:crypto";
import type { Epoch, ObjectKey } from "../../src/base/ids.ts";
import { tableKey } from "../../src/objects/keys.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";
import type { Effect, Space, Version } from "../../src/storage/storage.ts";
import { type BuiltTable, TableBuilder } from "../../src/storage/table-builder.ts";
import { BRANCH } from "./storage-bench.ts";

export const runtime = createNodeRuntime();

export interface Row {
  space: Space;
  key: string;
  main: number;
  sub?: number;
  value: string | Buffer | null;
  effect?: Effect;
}

export function versionOf(row: Row): Version {
  const bytes = Buffer.isBuffer(row.value) ? row.value : Buffer.from(row.value ?? "", "latin1");
  const { key, main, sub = 0, effect = 0 } = row;
  return { key, main, sub, tombstone: row.value === null, effect, bytes, start: 0, end: bytes.length };
}

/** A table of rows in order, with a salt that is known. */
export async function buildTable(
  rows: readonly Row[],
  options: { blockBytes?: number } = {},
): Promise<BuiltTable & { key: ObjectKey }> {
  const salt = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
  const { blockBytes = 16 << 10 } = options;
  const builder = new TableBuilder({ runtime, salt, bytesHint: 1000, blockBytes, previous: null });
  for (const row of rows) {
    const version = versionOf(row);
    await builder.add(row.space, version, version.effect);
  }
  const built = await builder.finish({ next: null, compactRevision: 3, pause: async () => {} });
  const sha256 = hash("sha256", built.body, "hex");
  return { ...built, key: tableKey({ branch: BRANCH, epoch: 7 as Epoch, sha256 }) };
}
