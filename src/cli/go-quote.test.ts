import { equal } from "node:assert/strict";
import { test } from "node:test";
import { goQuote } from "./go-quote.ts";

test("bytes are quoted as by Go's %q", () => {
  const rows: [bytes: Uint8Array, quoted: string][] = [
    [Buffer.from(""), '""'],
    [Buffer.from("a b"), '"a b"'],
    [Buffer.from('say "\\"\n\t\r\v\x07'), '"say \\"\\\\\\"\\n\\t\\r\\v\\a"'],
    [Buffer.from([0, 0x1f, 0x7f, 0xff, 0xc3]), '"\\x00\\x1f\\x7f\\xff\\xc3"'],
    [Buffer.from("ä€𝄞"), '"ä€𝄞"'],
    [Buffer.from("\u00a0\u200b\u{e0001}"), '"\\u00a0\\u200b\\U000e0001"'],
    // Half a character, and the bytes of a surrogate, which UTF-8 does not have.
    [Buffer.from([0xe2, 0x82, 0x61]), '"\\xe2\\x82a"'],
    [Buffer.from([0xed, 0xa0, 0x80]), '"\\xed\\xa0\\x80"'],
  ];
  for (const [bytes, quoted] of rows) equal(goQuote(bytes), quoted);
});
