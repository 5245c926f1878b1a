import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { HpackDecoder, HpackError } from "./hpack-decoder.ts";
import { ResponseEncoder } from "./hpack-encoder.ts";
import { huffmanDecode, huffmanDecodedBytesMax, huffmanEncode } from "./hpack-huffman.ts";

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s+/g, ""), "hex");

function decode(decoder: HpackDecoder, block: Buffer, listBytesMax = 65536): string[] {
  return decoder.decode(block, 0, block.length, listBytesMax).map(({ name, value }) => `${name}: ${value}`);
}

const requests = [
  [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
  [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
  [":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"],
];

test("RFC 7541 C.2: each representation of a field", () => {
  const literal = (text: string): string[] => decode(new HpackDecoder(), hex(text));
  deepEqual(literal("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"), ["custom-key: custom-header"]);
  deepEqual(literal("040c 2f73 616d 706c 652f 7061 7468"), [":path: /sample/path"]);
  deepEqual(literal("1008 7061 7373 776f 7264 0673 6563 7265 74"), ["password: secret"]);
  deepEqual(literal("82"), [":method: GET"]);
});

test("RFC 7541 C.3 and C.4: requests on one connection, without and with Huffman", () => {
  const plain = [
    "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "8286 84be 5808 6e6f 2d63 6163 6865",
    "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
  ];
  const huffman = [
    "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
    "8286 84be 5886 a8eb 1064 9cbf",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
  ];
  for (const blocks of [plain, huffman]) {
    const decoder = new HpackDecoder();
    blocks.forEach((block, i) => {
      deepEqual(decode(decoder, hex(block)), requests[i]);
    });
  }
});

test("RFC 7541 C.5 and C.6: responses that evict entries of a table of 256 bytes", () => {
  const expected = [
    [
      ":status: 302",
      "cache-control: private",
      "date: Mon, 21 Oct 2013 20:13:21 GMT",
      "location: https://www.example.com",
    ],
    [
      ":status: 307",
      "cache-control: private",
      "date: Mon, 21 Oct 2013 20:13:21 GMT",
      "location: https://www.example.com",
    ],
    [
      ":status: 200",
      "cache-control: private",
      "date: Mon, 21 Oct 2013 20:13:22 GMT",
      "location: https://www.example.com",
      "content-encoding: gzip",
      "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ],
  ];
  const plain = [
    `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e
     1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
    "4803 3330 37c1 c0bf",
    `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d
     4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572
     7369 6f6e 3d31`,
  ];
  const huffman = [
    `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b
     97c8 e9ae 82ae 43d3`,
    "4883 640e ffc1 c0bf",
    `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf
     cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
  ];
  for (const blocks of [plain, huffman]) {
    const decoder = new HpackDecoder();
    blocks.forEach((block, i) => {
      // A table size update to 256 stands for the setting that the examples assume.
      deepEqual(decode(decoder, Buffer.concat([i === 0 ? hex("3fe1 01") : hex(""), hex(block)])), expected[i]);
    });
  }
});

test("the Huffman code is complete, and any bytes come back from it", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const encoded = huffmanEncode(bytes);
      const into = Buffer.alloc(huffmanDecodedBytesMax(encoded.length));
      equal(huffmanDecode(encoded, 0, encoded.length, into), bytes.length);
      ok(into.subarray(0, bytes.length).equals(bytes));
    }),
  );
});

test("Huffman strings with wrong padding or the end-of-string code are refused", () => {
  const into = Buffer.alloc(64);
  const decodes = (text: string): number => huffmanDecode(hex(text), 0, hex(text).length, into);
  equal(decodes("18"), -1, "a, and zeros as padding");
  equal(decodes("ff"), -1, "a whole byte of padding");
  equal(decodes("ffff fffc"), -1, "end of string");
  equal(decodes("1f"), 1, "a and three ones");
});

test("blocks that break the rules are refused", () => {
  const refused: [string, string][] = [
    ["80", "index 0"],
    ["ff00", "index beyond the tables"],
    ["be", "index into an empty dynamic table"],
    ["3fe2 1f", "table size over 4096"],
    ["82 20", "table size update after a field"],
    ["40", "name missing"],
    ["4003 6162", "name cut short"],
    ["ffff ffff ffff ff", "integer without end"],
    ["7fff ffff ff0f", "integer too large"],
  ];
  for (const [block, why] of refused) throws(() => decode(new HpackDecoder(), hex(block)), HpackError, why);
});

test("a header list over its bound is cut short, but the table keeps up with the peer's", () => {
  const decoder = new HpackDecoder();
  const entered = Buffer.concat([hex("4001 61"), Buffer.from([0x7f, 0x81 - 0x7f + 0x00]), Buffer.alloc(129, 0x62)]);
  // One field of 1 + 129 bytes enters the table; 5,000 references to it make a list of 800 KB.
  const bomb = Buffer.concat([entered, Buffer.alloc(5000, 0xbe)]);
  const fields = decode(decoder, bomb, 1000);
  equal(fields.length, 6);
  equal(decoder.listBytes, 5001 * 162);
  equal(decode(decoder, hex("be")).length, 1);
});

test("an entry larger than the table empties it", () => {
  const decoder = new HpackDecoder();
  decode(decoder, hex("4001 6101 62"));
  equal(decode(decoder, hex("be"))[0], "a: b");
  decode(
    decoder,
    Buffer.concat([
      hex("4001 617f"),
      Buffer.from([0x80 | ((4000 - 127) % 128), (4000 - 127) >> 7]),
      Buffer.alloc(4000, 0x62),
    ]),
  );
  equal(decode(decoder, hex("be")).length, 1, "4033 bytes fit");
  decode(
    decoder,
    Buffer.concat([
      hex("4001 617f"),
      Buffer.from([0x80 | ((4096 - 127) % 128), (4096 - 127) >> 7]),
      Buffer.alloc(4096, 0x62),
    ]),
  );
  throws(() => decode(decoder, hex("be")), HpackError);
});

test("the table's bytes stay within its bound, whatever enters it", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(60), fc.nat(400), fc.boolean()), { maxLength: 300 }), (entries) => {
      const decoder = new HpackDecoder();
      const model: string[] = [];
      let limit = 4096;
      for (const [name, value, resize] of entries) {
        const parts: Buffer[] = [];
        if (resize) {
          limit = (name * 67) % 4097;
          parts.push(limit < 31 ? Buffer.from([0x20 | limit]) : Buffer.concat([Buffer.from([0x3f]), leb(limit - 31)]));
        }
        parts.push(Buffer.from([0x40]), string("n".repeat(name + 1)), string("v".repeat(value)));
        model.unshift(`${"n".repeat(name + 1)}: ${"v".repeat(value)}`);
        // A line of the model is two characters longer than name and value, so 30 more make an entry's size.
        for (let bytes = 0, i = 0; i < model.length; i++) {
          bytes += model[i]!.length + 30;
          if (bytes > limit) model.length = i;
        }
        decode(decoder, Buffer.concat(parts));
      }
      model.forEach((line, i) => {
        equal(decode(decoder, index(62 + i))[0], line);
      });
      throws(() => decode(decoder, index(62 + model.length)), HpackError);
    }),
    { numRuns: 50 },
  );
});

const leb = (value: number): Buffer => Buffer.from(value < 128 ? [value] : [128 | (value & 127), value >> 7]);
const string = (text: string): Buffer => Buffer.concat([integer(text.length), Buffer.from(text)]);
const integer = (value: number): Buffer =>
  value < 127 ? Buffer.from([value]) : Buffer.concat([Buffer.from([127]), leb(value - 127)]);
const index = (value: number): Buffer =>
  value < 127 ? Buffer.from([0x80 | value]) : Buffer.concat([Buffer.from([0xff]), leb(value - 127)]);

test("the encoder's blocks are read as what they mean, before and after the table is taken away", () => {
  const encoder = new ResponseEncoder();
  const decoder = new HpackDecoder();
  const headers = [":status: 200", "content-type: application/grpc"];
  deepEqual(decode(decoder, encoder.grpcHeaders()), headers);
  deepEqual(decode(decoder, encoder.grpcHeaders()), headers);
  deepEqual(decode(decoder, encoder.okTrailers()), ["grpc-status: 0"]);
  equal(encoder.grpcHeaders().length, 2);
  equal(encoder.okTrailers().length, 1);
  deepEqual(decode(decoder, encoder.grpcHeaders()), headers);
  deepEqual(decode(decoder, encoder.okTrailers()), ["grpc-status: 0"]);
  encoder.allowTable(65536);
  deepEqual(decode(decoder, encoder.grpcHeaders()), headers);
  encoder.allowTable(100);
  const resized = encoder.okTrailers();
  equal(resized[0], 0x20, "the next block begins with the update");
  deepEqual(decode(decoder, resized), ["grpc-status: 0"]);
  encoder.allowTable(4096);
  deepEqual(decode(decoder, encoder.grpcHeaders()), headers);
  deepEqual(decode(decoder, encoder.response(404, { "X-Long": "y".repeat(300) })), [
    ":status: 404",
    `x-long: ${"y".repeat(300)}`,
  ]);
  deepEqual(decode(decoder, encoder.response(418, {})), [":status: 418"]);
  throws(() => decode(decoder, hex("be")), HpackError, "the table is empty");
});
