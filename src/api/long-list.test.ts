import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import type { Call, Encodable, Pieces } from "../transport/transport.ts";
import { answerLongList } from "./long-list.ts";
import { Message } from "./wire/message.ts";

const codec = {
  size: (text: string) => text.length,
  write: (buffer: Buffer, at: number, text: string) => at + buffer.write(text, at, "latin1"),
};
const head = new Message().text(1, "head");
const call = (more: Partial<Call>): Call => more as Call;
const whole = (answer: Encodable): string => {
  const bytes = Buffer.alloc(answer.byteLength());
  equal(answer.encodeInto(bytes, 0), bytes.length);
  return bytes.toString("latin1");
};

test("a long list is the same in pieces as whole; a short one, or to whom takes none, is whole", () => {
  for (const count of [0, 1, 1000, 30_000]) {
    const elements = Array.from({ length: count }, (_, n) => `element ${n};`);
    const plain = answerLongList(head, elements, codec, call({}));
    ok(!("nextPiece" in plain));
    const expected = `\n\u0004head${elements.join("")}`;
    equal(whole(plain), expected);
    const answer = answerLongList(head, elements, codec, call({ takesAnyPieces: true }));
    equal("nextPiece" in answer, count === 30_000);
    if (!("nextPiece" in answer)) continue;
    const pieces: Buffer[] = [];
    for (let bytes = 0; bytes < answer.byteLength(); bytes += pieces.at(-1)!.length) {
      pieces.push((answer as Pieces).nextPiece() as Buffer);
    }
    equal(Buffer.concat(pieces).toString("latin1"), expected);
    deepEqual([pieces.length > 5, pieces.every(({ length }) => length < 66_000)], [true, true]);
  }
});
