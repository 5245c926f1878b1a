import { type FileLayout, fileBytes, filePages, layOut } from "../bbolt/file.ts";
import type { KeyVersion } from "../engine.ts";
import { type BackendState, backendBuckets, UNHASHED } from "./backend.ts";
import type { Snapshot } from "./maintenance.ts";
import { storageVersionOf } from "./storage-version.ts";
import { Sum } from "./sum.ts";

/** All versions that the store holds, of one moment; may be gone through once. */
export type KeysOnce = () => AsyncIterable<readonly KeyVersion[]>;

/**
 * A branch at one moment as the file of an etcd member (M5). Its size and where its trees begin come before its pages,
 * so the versions are gone through twice: first to count, then to send. It needs no room on a disk, and memory for a
 * few pages. `first` and `second` were asked for in one turn, so they give the same.
 */
export async function makeSnapshot(state: BackendState, first: KeysOnce, second: KeysOnce): Promise<Snapshot> {
  // A process that dies here, or while it sends, leaves nothing behind.
  const layout = await layOut(backendBuckets(state, first));
  return {
    revision: state.revision,
    bytes: fileBytes(layout),
    version: storageVersionOf(state.downgradeTarget),
    pieces: () => filePieces(state, second, layout),
  };
}

async function* filePieces(state: BackendState, keys: KeysOnce, layout: FileLayout): AsyncGenerator<Uint8Array> {
  yield* filePages(backendBuckets(state, keys), layout);
}

/** etcd's Hash: of all buckets, as far as they are state. */
export async function hashBackend(state: BackendState, keys: KeysOnce): Promise<number> {
  const sum = new Sum();
  for (const { name, pairs } of backendBuckets(state, keys)) {
    sum.add(Buffer.from(name));
    for await (const batch of pairs()) {
      for (const { key, value } of batch) {
        if (name === "meta" && UNHASHED.has(Buffer.from(key).latin1Slice())) continue;
        sum.add(key);
        sum.add(value);
      }
    }
  }
  return sum.value;
}
