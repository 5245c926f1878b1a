import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { FrameReader, type FrameSink } from "./frame-reader.ts";
import { ConnectionError, writeFrameHeader } from "./frames.ts";

class Collector implements FrameSink {
  readonly frames: string[] = [];
  stopped = false;

  frame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    this.frames.push(`${type} ${flags} ${streamId} ${bytes.toString("hex", start, end)}`);
  }
}

test("frames are the same however the bytes are cut", () => {
  const frames = fc.array(fc.tuple(fc.nat(255), fc.nat(255), fc.nat(0x7fffffff), fc.uint8Array({ maxLength: 40 })));
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 30 })), (list, cuts) => {
      const bytes = Buffer.concat(
        list.map(([type, flags, streamId, payload]) => {
          const one = Buffer.alloc(9 + payload.length);
          writeFrameHeader(one, 0, payload.length, type, flags, streamId);
          one.set(payload, 9);
          return one;
        }),
      );
      const collector = new Collector();
      const reader = new FrameReader(collector);
      let at = 0;
      for (const cut of cuts) {
        reader.push(bytes.subarray(at, at + cut));
        at = Math.min(bytes.length, at + cut);
      }
      reader.push(bytes.subarray(at));
      deepEqual(
        collector.frames,
        list.map(([type, flags, id, payload]) => `${type} ${flags} ${id} ${Buffer.from(payload).toString("hex")}`),
      );
      equal(reader.midFrame, false);
    }),
  );
});

test("a frame over the bound is refused by its header, before its payload has come", () => {
  for (const cut of [9, 4]) {
    const header = Buffer.alloc(9);
    writeFrameHeader(header, 0, 16385, 0, 0, 1);
    const reader = new FrameReader(new Collector());
    throws(() => {
      reader.push(header.subarray(0, cut));
      reader.push(header.subarray(cut));
    }, ConnectionError);
  }
});

test("nothing is given out after the sink has stopped", () => {
  const collector = new Collector();
  collector.stopped = true;
  const bytes = Buffer.alloc(18);
  writeFrameHeader(bytes, 0, 0, 4, 0, 0);
  new FrameReader(collector).push(bytes);
  deepEqual(collector.frames, []);
});
