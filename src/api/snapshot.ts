import { createHash } from "node:crypto";
import type { Snapshot } from "../engine/maintenance/maintenance.ts";
import { GrpcError } from "../transport/transport.ts";
import { codes } from "./errors.ts";
import type { ServiceTimers } from "./settings.ts";
import { type StreamCall, type StreamService, withOneRequest } from "./stream-call.ts";
import { Message } from "./wire/message.ts";
import { decodeEmpty } from "./wire/other-requests.ts";

const BLOB_BYTES = 32 << 10;

/**
 * A client that takes nothing of what is sent to it for so long is given up: a snapshot holds one of the few places
 * that there are, and nothing else would say that nobody reads it.
 */
const STALLED_MS = 300_000;

/**
 * Maintenance.Snapshot (M5): the file in blobs of 32 KiB, then its SHA-256. While the client does not read nothing is
 * made; when it goes, what the snapshot holds is freed.
 */
export const snapshot = (timers: Pick<ServiceTimers, "set">): StreamService =>
  withOneRequest((call, message) => {
    decodeEmpty(message, "SnapshotRequest");
    call.database.require("root");
    const gone = new AbortController();
    let drained: () => void = () => {};
    call.onEnd(() => {
      gone.abort();
      drained();
    });
    call.stream.onDrain = () => drained();
    const flows = async (): Promise<void> => {
      const stalled = timers.set(STALLED_MS, () => call.fail(notRead()), { background: true });
      await new Promise<void>((resolve) => {
        drained = resolve;
      });
      stalled.cancel();
    };
    send(call, flows, gone.signal).catch((error: unknown) => call.fail(error));
  });

const notRead = (): GrpcError =>
  new GrpcError(codes.resourceExhausted, `t4: the snapshot was not read for ${STALLED_MS / 1000} s`);

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
