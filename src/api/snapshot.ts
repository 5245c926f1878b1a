import { createHash } from "node:crypto";
import type { Snapshot } from "../engine/maintenance/maintenance.ts";
import type { StreamCall } from "./stream-call.ts";
import { Message } from "./wire/message.ts";
import { decodeEmpty } from "./wire/other-requests.ts";

const BLOB_BYTES = 32 << 10;

/**
 * Maintenance.Snapshot (M5): the file in blobs of 32 KiB, then its SHA-256. While the client does not read nothing is
 * made; when it goes, what the snapshot holds is freed.
 */
export function snapshot(call: StreamCall): void {
  const gone = new AbortController();
  let asked = false;
  let drained: () => void = () => {};
  call.onEnd = () => {
    gone.abort();
    drained();
  };
  call.stream.onDrain = () => drained();
  const flows = (): Promise<void> =>
    new Promise((resolve) => {
      drained = resolve;
    });
  call.stream.onMessage = (message) =>
    call.guard(() => {
      decodeEmpty(message, "SnapshotRequest");
      if (asked) return;
      asked = true;
      call.database.require("root");
      send(call, flows, gone.signal).catch((error: unknown) => call.fail(error));
    });
}

/** Each await ends when the client goes: reading by the signal, waiting for it to read by `flows`. */
async function send(call: StreamCall, flows: () => Promise<void>, signal: AbortSignal): Promise<void> {
  const made = await call.database.maintenance.snapshot(signal);
  const digest = createHash("sha256");
  let left = made.bytes;
  const tell = async (blob: Uint8Array): Promise<void> => {
    const message = new Message().number(2, left).alwaysBytes(3, blob).text(4, made.version);
    if (!call.stream.send(message)) await flows();
  };
  for await (const blob of blobs(made)) {
    if (call.ended) return;
    left -= blob.length;
    digest.update(blob);
    await tell(blob);
  }
  if (call.ended) return;
  await tell(digest.digest());
  call.end();
}

/** The pieces cut anew, all of BLOB_BYTES but the last. */
async function* blobs(made: Snapshot): AsyncGenerator<Uint8Array> {
  let blob = Buffer.allocUnsafe(BLOB_BYTES);
  let filled = 0;
  for await (const piece of made.pieces()) {
    for (let at = 0; at < piece.length; ) {
      const taken = Math.min(piece.length - at, BLOB_BYTES - filled);
      blob.set(piece.subarray(at, at + taken), filled);
      at += taken;
      filled += taken;
      if (filled < BLOB_BYTES) continue;
      yield blob;
      blob = Buffer.allocUnsafe(BLOB_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield blob.subarray(0, filled);
}
