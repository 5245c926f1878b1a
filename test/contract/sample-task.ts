import { AssertionError } from "../../src/base/assert.ts";
import { DbError } from "../../src/base/errors.ts";
import type { OffloadTask } from "../../src/runtime/runtime.ts";

export interface SampleInput {
  readonly what: "sum" | "fail" | "assert" | "wait";
  readonly asks: number;
}

/** Asks for so many numbers, sends bytes along, and adds them up; or fails as it is told. */
export const sampleTask: OffloadTask<SampleInput, number> = {
  module: import.meta.url,
  name: "sampleTask",
  async run({ what, asks }, { call, signal }) {
    if (what === "fail") throw new DbError("corrupt", "object x: broken");
    if (what === "assert") throw new AssertionError("what must hold");
    let sum = 0;
    for (let n = 0; n < asks; n++) {
      const bytes = new Uint8Array(1000).fill(n);
      const reply = (await call({ n, bytes }, [bytes])) as Uint8Array;
      for (const byte of reply) sum += byte;
    }
    while (what === "wait" && !signal.aborted) await call({ n: -1, bytes: new Uint8Array(0) });
    return sum;
  },
};
