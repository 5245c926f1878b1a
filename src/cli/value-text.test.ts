import { equal } from "node:assert/strict";
import { test } from "node:test";
import { keyText, valueText } from "./value-text.ts";

test("a key is shown whole, in one line, without quotes around it", () => {
  equal(keyText(Buffer.from("/registry/pods/a")), "/registry/pods/a");
  equal(keyText(Buffer.from('a "b"\n')), 'a \\"b\\"\\n');
  equal(keyText(Buffer.from([0, 255])), "0x00ff");
  const long = `/registry/${"x".repeat(300)}/end`;
  equal(keyText(Buffer.from(long)), long);
  equal(keyText(Buffer.alloc(100, 0xff)), `0x${"ff".repeat(100)}`);
});

test("a value that is long is cut, and its size told", () => {
  equal(valueText(Buffer.from("short")), '"short"');
  equal(valueText(Buffer.alloc(2048, "v")), `"${"v".repeat(119)}…" (2.0 KiB)`);
});
