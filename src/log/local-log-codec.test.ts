import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { branch, number, start } from "../../test/log/samples.ts";
import { fc } from "../../test/properties.ts";
import { branchId, type Epoch, type Revision } from "../base/ids.ts";
import {
  encodeFileHeader,
  FILE_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  readFrameRecords,
  scanFile,
  sealFrame,
} from "./local-log-codec.ts";
import { RecordBatch } from "./record-batch.ts";
import { markOfPosition, type RecordMark } from "./record-codec.ts";

const generation = "a1b2c3d4e5f60718";
const expected = { branch, sequence: 3 };
const path = "/data/log-3";

/** A file with a frame for each list of payloads; returns where each frame begins, and where the last one ends. */
function fileOf(frames: string[][], options: { generation?: string; bytes?: number } = {}) {
  const id = options.generation ?? generation;
  const header = encodeFileHeader({ ...expected, generation: id });
  const parts = [header.bytes];
  const places: number[] = [];
  let at = FILE_HEADER_BYTES;
  let checksum = header.checksum;
  let before: RecordMark = markOfPosition(start);
  for (const payloads of frames) {
    const bytes = Buffer.alloc(FRAME_HEADER_BYTES);
    const batch = new RecordBatch({ headerBytes: FRAME_HEADER_BYTES, trailerBytes: 0, before, bytes });
    for (const payload of payloads) {
      batch.append(Buffer.from(payload), (batch.last.revision + 1) as Revision, 2 as Epoch, 1000);
    }
    checksum = sealFrame(batch, {
      generation: Buffer.from(id, "hex"),
      epoch: 2 as Epoch,
      uploaded: number(0),
      previousChecksum: checksum,
    });
    before = batch.last;
    parts.push(batch.bytes.subarray(0, batch.end));
    places.push(at);
    at += batch.end;
  }
  const bytes = Buffer.concat([...parts, Buffer.alloc(Math.max(0, (options.bytes ?? at) - at))]);
  return { bytes, places, end: at };
}

const payloadsOf = (bytes: Buffer, frames: ReturnType<typeof scanFile>["frames"]) =>
  frames.map((frame) => readFrameRecords(path, bytes, frame).map((record) => Buffer.from(record.payload).toString()));

const golden =
  "5434574c01000000000000000123456789abcdef0123456789abcdef0300000000000000a1b2c3d4e5f607180000000000000000" +
  "3f64839a000000000000000054344652a1b2c3d4e5f6071802000000000000000000000000000000000000000000000000000000" +
  "000000000100000000000000000000000000000000000000000000003f64839a00000000cac35a7654344652a1b2c3d4e5f60718" +
  "02000000000000000000000000000000000000000000000000000000000000000100000000000000000000000000000001000000" +
  "0c000000cac35a76f79f1679465e79d902e8070103707574c2b04975";

test("a file has the bytes that docs/formats/local-log.md gives", () => {
  const { bytes } = fileOf([[], ["put"]]);
  equal(bytes.subarray(0, 64).toString("hex") + bytes.subarray(FILE_HEADER_BYTES).toString("hex"), golden);
  ok(bytes.subarray(64, FILE_HEADER_BYTES).every((byte) => byte === 0));
});

test("frames come back, whatever is behind them", () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.string({ maxLength: 30 }), { maxLength: 4 }), { maxLength: 6 }), (frames) => {
      const { bytes, end } = fileOf(frames, { bytes: 4096 });
      const scan = scanFile(path, bytes, expected);
      deepEqual(payloadsOf(bytes, scan.frames), frames);
      deepEqual([scan.end, scan.torn], [end, false]);
    }),
    { numRuns: 50 },
  );
});

test("a frame that is cut at any byte is the torn end of its file: what is before it counts", () => {
  const { bytes, places, end } = fileOf([["first"], ["second"], ["third", "fourth"]], { bytes: 2048 });
  const last = places[2]!;
  const old = fileOf([["an"], ["older"], ["use of this file", "with longer records"]], {
    generation: "ffffffffffffffff",
    bytes: 2048,
  });
  for (let cut = last; cut < end; cut++) {
    const zeros = Buffer.from(bytes);
    zeros.fill(0, cut);
    const recycled = Buffer.concat([bytes.subarray(0, cut), old.bytes.subarray(cut)]);
    const short = bytes.subarray(0, cut);
    for (const torn of [zeros, recycled, short]) {
      const scan = scanFile(path, torn, expected);
      deepEqual([payloadsOf(torn, scan.frames), scan.end], [[["first"], ["second"]], last]);
      // Below that it cannot be told from what was never written; the last bytes may be zeros or equal by chance.
      equal(scan.torn, cut >= last + 12, `cut at ${cut - last}`);
    }
  }
});

test("sectors of a frame that reach the disk in any order leave it torn, or whole", () => {
  const frames = [["first"], ["x".repeat(3000), "y".repeat(2000)]];
  const { bytes, places, end } = fileOf(frames, { bytes: 8192 });
  const sectors = Math.ceil((end - places[1]!) / 512) + 1;
  for (let kept = 0; kept < 1 << sectors; kept++) {
    const torn = Buffer.from(bytes);
    let whole = true;
    for (let n = 0; n < sectors; n++) {
      const sector = Math.floor(places[1]! / 512) + n;
      if (kept & (1 << n)) continue;
      const from = Math.max(places[1]!, sector * 512);
      const to = Math.min(end, (sector + 1) * 512);
      if (to > from) whole = false;
      torn.fill(0, from, Math.max(from, to));
    }
    const scan = scanFile(path, torn, expected);
    equal(scan.frames.length, whole ? 2 : 1);
  }
});

test("a damaged frame with a good one behind it is corrupt, never cut off", () => {
  const { bytes, places } = fileOf([["first"], ["second"], ["third"]], { bytes: 2048 });
  for (let bit = places[1]! * 8; bit < places[2]! * 8; bit++) {
    const damaged = Buffer.from(bytes);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    throws(
      () => scanFile(path, damaged, expected),
      { kind: "corrupt", message: /^local log \/data\/log-3: / },
      `${bit}`,
    );
  }
});

test("a flipped bit in the last frame cuts it off; in the header it is corrupt", () => {
  const { bytes, places, end } = fileOf([["first"], ["second"]], { bytes: 2048 });
  for (let bit = places[1]! * 8; bit < end * 8; bit++) {
    const damaged = Buffer.from(bytes);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    equal(scanFile(path, damaged, expected).frames.length, 1);
  }
  for (let bit = 0; bit < 56 * 8; bit++) {
    const damaged = Buffer.from(bytes);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    throws(() => scanFile(path, damaged, expected), /local log \/data\/log-3: /);
  }
});

test("frames of an earlier use of the file, and a value that looks like a frame, are not taken for frames", () => {
  const { bytes, end } = fileOf([["first"]], { bytes: 4096 });
  const old = fileOf([["x"], ["y"], ["z"]], { generation: "ffffffffffffffff", bytes: 4096 });
  const recycled = Buffer.concat([bytes.subarray(0, end), old.bytes.subarray(end)]);
  equal(scanFile(path, recycled, expected).frames.length, 1);
  // The older frame begins exactly where the next one will.
  const same = fileOf([["other"], ["later"]], { generation: "ffffffffffffffff", bytes: 4096 });
  const aligned = Buffer.concat([bytes.subarray(0, end), same.bytes.subarray(end)]);
  equal(same.places[1], end);
  deepEqual(payloadsOf(aligned, scanFile(path, aligned, expected).frames), [["first"]]);
  // A torn frame whose value holds a whole file's image, as a client may store one.
  const image = old.bytes.toString("latin1");
  const within = fileOf([["first"], [image]], { bytes: 16384 });
  const torn = Buffer.from(within.bytes);
  torn.fill(0, within.end - 5);
  equal(scanFile(path, torn, expected).frames.length, 1);
});

test("a file of another branch, sequence, or a newer version is refused by name", () => {
  const { bytes } = fileOf([["first"]]);
  const other = branchId("f".repeat(32));
  throws(() => scanFile(path, bytes, { ...expected, branch: other }), /is of branch 0123.*, expected ffff/);
  throws(() => scanFile(path, bytes, { ...expected, sequence: 4 }), /has sequence 3, expected 4/);
  bytes[4] = 2;
  throws(() => scanFile(path, bytes, expected), { kind: "storeRefused", message: /format version 2 is unknown/ });
});

test("any bytes are scanned without harm", () => {
  const { bytes } = fileOf([["first"], ["second"]], { bytes: 1024 });
  const change = fc.record({ at: fc.nat(1023), bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }) });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 5 }), fc.nat(1024), (changes, length) => {
      const hostile = Buffer.from(bytes);
      for (const one of changes) Buffer.from(one.bytes).copy(hostile, one.at);
      try {
        const cut = hostile.subarray(0, length);
        for (const frame of scanFile(path, cut, expected).frames) readFrameRecords(path, cut, frame);
      } catch (error) {
        ok(/^local log \/data\/log-3: /.test((error as Error).message), String(error));
      }
    }),
    { numRuns: 1000 },
  );
});
