import { equal } from "node:assert/strict";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type CompareSchema,
  type RequestOpSchema,
  Compare_CompareResult as Result,
  Compare_CompareTarget as Target,
  TxnRequestSchema,
} from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes } from "../client.ts";
import { fails, type Story } from "../story.ts";

type Op = MessageInitShape<typeof RequestOpSchema>;
type Cmp = MessageInitShape<typeof CompareSchema>;

export const get = (key: string, extra: object = {}): Op => ({
  request: { case: "requestRange", value: { key: bytes(key), ...extra } },
});
export const put = (key: string, value: string, extra: object = {}): Op => ({
  request: { case: "requestPut", value: { key: bytes(key), value: bytes(value), ...extra } },
});
export const del = (key: string, end = "", extra: object = {}): Op => ({
  request: { case: "requestDeleteRange", value: { key: bytes(key), rangeEnd: bytes(end), ...extra } },
});
export const nested = (success: Op[], failure: Op[] = [], compare: Cmp[] = []): Op => ({
  request: { case: "requestTxn", value: { success, failure, compare } as never },
});

const targets = {
  version: Target.VERSION,
  createRevision: Target.CREATE,
  modRevision: Target.MOD,
  lease: Target.LEASE,
} as const;
export const compare = (key: string, field: keyof typeof targets, result: Result, value: bigint, end = ""): Cmp => ({
  key: bytes(key),
  rangeEnd: bytes(end),
  result,
  target: targets[field],
  targetUnion: { case: field, value },
});
export const compareValue = (key: string, result: Result, value: string, end = ""): Cmp => ({
  key: bytes(key),
  rangeEnd: bytes(end),
  result,
  target: Target.VALUE,
  targetUnion: { case: "value", value: bytes(value) },
});

const TOO_MANY = "etcdserver: too many operations in txn request";
const DUPLICATE = "etcdserver: duplicate key given in txn request";
const NO_KEY = "etcdserver: key is not provided";
const many = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));

export const txnStories: Story[] = [
  {
    name: "T1 the limit on operations, nested ones too",
    async body(client) {
      await client.transcript.silently(async () => {
        await client.txn({ success: many(128, (i) => put(`k${i}`, "v")) });
        await client.txn({ success: many(128, (i) => put(`k${i}`, "v")), failure: many(128, (i) => get(`k${i}`)) });
        await fails(client.txn({ success: many(129, (i) => put(`k${i}`, "v")) }), 3, TOO_MANY);
        await fails(client.txn({ failure: many(129, (i) => put(`k${i}`, "v")) }), 3, TOO_MANY);
        const compares = many(129, () => compare("a", "version", Result.EQUAL, 0n));
        await fails(client.txn({ compare: compares }), 3, TOO_MANY);
        // One operation outside leaves 127 inside.
        await client.txn({ success: [nested(many(127, (i) => put(`k${i}`, "v")))] });
        await fails(client.txn({ success: [nested(many(128, (i) => put(`k${i}`, "v")))] }), 3, TOO_MANY);
        const two = [put("z", "v"), nested(many(126, (i) => put(`k${i}`, "v")))];
        await client.txn({ success: two });
        await fails(client.txn({ success: [put("z", "v"), nested(many(127, (i) => put(`k${i}`, "v")))] }), 3, TOO_MANY);
      });
      let deep = nested([]);
      for (let i = 0; i < 127; i++) deep = nested([deep]);
      // The client's own decoder refuses what is nested as deeply as this: bytes are looked at only for being an
      // answer.
      const bytesOf = (success: Op[]) => toBinary(TxnRequestSchema, create(TxnRequestSchema, { success }));
      await client.transcript.silently(async () => {
        await client.raw("/etcdserverpb.KV/Txn", bytesOf([deep]));
        await fails(client.raw("/etcdserverpb.KV/Txn", bytesOf([nested([deep])])), 3, TOO_MANY);
      });
    },
  },
  {
    name: "T2 T3 T4 argument checks of Txn",
    async body(client) {
      await fails(client.txn({ compare: [compare("", "version", Result.EQUAL, 0n)] }), 3, NO_KEY);
      await fails(client.txn({ success: [{ request: { case: undefined } }] }), 3, "etcdserver: key not found");
      await fails(client.txn({ failure: [{ request: { case: undefined } }] }), 3, "etcdserver: key not found");
      await fails(
        client.txn({ success: [nested([{ request: { case: undefined } }])] }),
        3,
        "etcdserver: key not found",
      );
      await fails(client.txn({ failure: [get("")] }), 3, NO_KEY);
      await fails(client.txn({ success: [put("", "v")] }), 3, NO_KEY);
      await fails(client.txn({ success: [nested([], [del("")])] }), 3, NO_KEY);
      await fails(client.txn({ failure: [get("a", { sortOrder: 9 })] }), 3, "etcdserver: invalid sort option");
      await fails(client.txn({ failure: [put("a", "v", { ignoreValue: true })] }), 3, "etcdserver: value is provided");
      await fails(
        client.txn({ failure: [put("a", "", { ignoreLease: true, lease: 3n })] }),
        3,
        "etcdserver: lease is provided",
      );
      equal((await client.range("a")).header!.revision, 1n);
    },
  },
  {
    name: "T5 duplicate keys",
    async body(client) {
      const refused = (success: Op[], failure: Op[] = []) => fails(client.txn({ success, failure }), 3, DUPLICATE);
      await refused([put("a", "1"), put("a", "2")]);
      await refused([], [put("a", "1"), put("a", "2")]);
      await refused([put("a", "1"), del("a")]);
      await refused([del("a"), put("a", "1")]);
      await refused([put("b", "1"), del("a", "c")]);
      await refused([put("a", "1"), nested([put("a", "2")])]);
      await refused([nested([put("a", "2")]), put("a", "1")]);
      await refused([nested([put("a", "1")]), nested([put("a", "2")])]);
      await refused([del("a", "c"), nested([], [put("b", "2")])]);
      await refused([nested([nested([put("a", "1")])]), put("a", "2")]);
      await refused([nested([del("a")]), nested([put("a", "1")])]);
      await refused([nested([put("a", "1")]), del("a")]);
      await client.txn({ success: [del("a"), del("a", "b"), del("a", "\0")] });
      await client.txn({ success: [nested([put("a", "1")], [put("a", "2")])] });
      await client.txn({ success: [put("b", "1")], failure: [put("b", "2")] });
      await client.txn({ success: [put("a", "1"), put("a\0", "2"), del("b")] });
      await client.txn({ success: [put("c", "1"), del("a", "c")] });
      // A put and then a delete in sibling transactions: one revision, first there, then gone.
      await client.txn({ success: [nested([put("s", "1")]), nested([del("s")]), get("s")] });
      await client.range("s");
    },
  },
  {
    name: "T5 duplicate keys where a delete's range has no end, or ends before it begins",
    async body(client) {
      // etcd takes the end "\0" for a key here: such a range meets nothing but its own first key.
      for (const key of ["A", "a", "a\0", "b", "zzz", "\0"]) {
        for (const [from, end] of [
          ["a", "\0"],
          ["b", "a"],
          ["b", "A"],
          ["\0", "\0"],
        ] as const) {
          await client.txn({ success: [put(key, "1"), del(from, end)] }).catch(() => {});
          await client.txn({ success: [del(from, end), put(key, "2")] }).catch(() => {});
          await client.range("\0", { end: "\0" });
        }
      }
    },
  },
  {
    name: "T6 every target and result of a compare, on a present and a missing key",
    async body(client) {
      const { ID } = await client.grant(100, 9);
      await client.put("a", "m", { lease: ID });
      await client.put("a", "m", { lease: ID });
      for (const result of [Result.EQUAL, Result.GREATER, Result.LESS, Result.NOT_EQUAL]) {
        for (const key of ["a", "missing"]) {
          for (const value of [-1n, 0n, 2n, 3n, 9n, 2n ** 62n]) {
            for (const field of ["version", "createRevision", "modRevision", "lease"] as const) {
              await client.txn({ compare: [compare(key, field, result, value)] });
            }
          }
          for (const value of ["", "l", "m", "ma"]) await client.txn({ compare: [compareValue(key, result, value)] });
        }
      }
    },
  },
  {
    name: "T6 odd compares: unknown results and targets, an operand of another target",
    async body(client) {
      await client.put("a", "m");
      await client.txn({ compare: [compare("a", "version", 9 as Result, 7n)] });
      await client.txn({ compare: [compareValue("missing", 9 as Result, "x")] });
      for (const result of [Result.EQUAL, Result.GREATER, Result.LESS, Result.NOT_EQUAL, 7 as Result]) {
        await client.txn({ compare: [{ key: bytes("a"), result, target: 9 as Target }] });
        await client.txn({ compare: [{ key: bytes("missing"), result, target: 9 as Target }] });
        const other = { case: "modRevision" as const, value: 1n };
        await client.txn({ compare: [{ key: bytes("a"), result, target: Target.VERSION, targetUnion: other }] });
        await client.txn({ compare: [{ key: bytes("a"), result, target: Target.VALUE, targetUnion: other }] });
        await client.txn({ compare: [{ key: bytes("a"), result, target: Target.MOD }] });
      }
    },
  },
  {
    name: "T7 a compare over a range holds for every key, or not",
    async body(client) {
      await client.put("a", "1");
      await client.put("b", "1");
      await client.put("b", "2");
      await client.put("c", "1");
      const holds = (one: Cmp) => client.txn({ compare: [one] });
      await holds(compare("a", "version", Result.EQUAL, 1n, "z"));
      await holds(compare("a", "version", Result.GREATER, 0n, "z"));
      await holds(compare("a", "version", Result.LESS, 3n, "\0"));
      await holds(compare("a", "modRevision", Result.LESS, 5n, "c"));
      await holds(compare("a", "modRevision", Result.LESS, 5n, "\0"));
      await holds(compareValue("a", Result.EQUAL, "1", "b"));
      await holds(compareValue("a", Result.EQUAL, "1", "z"));
      await holds(compareValue("a", Result.NOT_EQUAL, "9", "z"));
      for (const result of [Result.EQUAL, Result.GREATER, Result.LESS, Result.NOT_EQUAL]) {
        await holds(compare("x", "version", result, 0n, "z"));
        await holds(compareValue("x", result, "", "z"));
        await holds(compare("z", "version", result, 0n, "a"));
      }
    },
  },
  {
    name: "T8 T9 T11 responses, their headers, and what makes a revision",
    async body(client) {
      await client.txn({});
      await client.txn({ success: [get("a"), del("a"), del("a", "z")] });
      await client.txn({
        success: [put("a", "1"), get("a"), put("b", "2"), get("a", { rangeEnd: bytes("z") }), del("zz")],
      });
      await client.txn({
        success: [get("a"), del("a", "", { prevKv: true }), get("a"), put("c", "3", { prevKv: true }), get("c")],
      });
      await client.txn({
        compare: [compare("a", "version", Result.GREATER, 0n)],
        success: [put("x", "1")],
        failure: [
          get("b"),
          put("b", "5", { prevKv: true }),
          get("b", { keysOnly: true }),
          get("b", { countOnly: true }),
        ],
      });
      await client.txn({ success: [put("b", "6"), put("d", "7"), del("c", "e", { prevKv: true })] }).catch(() => {});
      await client.txn({
        success: [
          put("b", "6"),
          put("d", "7"),
          del("e", "z", { prevKv: true }),
          get("a", { rangeEnd: bytes("z"), limit: 1n }),
        ],
      });
      await client.range("a", { end: "z" });
    },
  },
  {
    name: "T10 T14 a failing operation in the branch taken fails the whole; in the other branch nothing",
    async body(client) {
      await client.put("a", "1");
      await client.put("a", "2");
      await client.compact(3);
      const future = "etcdserver: mvcc: required revision is a future revision";
      const compacted = "etcdserver: mvcc: required revision has been compacted";
      const lease = "etcdserver: requested lease not found";
      const missing = "etcdserver: key not found";
      await fails(client.txn({ success: [put("b", "1"), get("a", { revision: 9n })] }), 11, future);
      await fails(client.txn({ success: [put("b", "1"), get("a", { revision: 4n })] }), 11, future);
      await fails(client.txn({ success: [get("a", { revision: 2n }), put("b", "1")] }), 11, compacted);
      await fails(client.txn({ success: [put("b", "1"), put("c", "1", { lease: 5n })] }), 5, lease);
      await fails(client.txn({ success: [put("b", "1"), put("c", "", { ignoreValue: true })] }), 3, missing);
      await fails(client.txn({ success: [put("b", "1"), nested([put("c", "", { ignoreLease: true })])] }), 3, missing);
      const never = compare("a", "version", Result.EQUAL, 99n);
      const bad = [get("a", { revision: 9n }), put("c", "1", { lease: 5n }), put("d", "", { ignoreValue: true })];
      await client.txn({ compare: [never], success: bad });
      await client.txn({ success: [nested(bad, [put("e", "1")], [never])] });
      await client.txn({ success: [put("a", "3"), get("a", { revision: 3n }), get("a")] });
      await client.txn({ success: [put("a", "", { ignoreValue: true }), get("a")] });
      await client.range("a", { end: "z" });
    },
  },
  {
    name: "T12 Q4 nested compares see the state before the transaction",
    async body(client) {
      const fresh = compare("a", "version", Result.EQUAL, 0n);
      await client.txn({
        success: [put("a", "1"), nested([get("a"), put("b", "was new")], [get("a"), put("b", "was old")], [fresh])],
      });
      await client.txn({
        success: [put("a", "2"), nested([get("a"), put("b", "was new")], [get("a"), put("b", "was old")], [fresh])],
      });
      await client.txn({
        success: [
          del("a", "z"),
          nested([nested([get("b")], [get("a")], [fresh])], [], [compareValue("b", Result.EQUAL, "was old")]),
        ],
      });
      // The previous value for ignore_value is that of before the transaction, too.
      await client.put("k", "1");
      await client.txn({ success: [nested([del("x")]), put("k", "", { ignoreValue: true, prevKv: true })] });
      await client.range("a", { end: "z" });
    },
  },
  {
    name: "T13 transactions that only read",
    async body(client) {
      await client.put("a", "1");
      await client.put("a", "2");
      await client.txn({ success: [get("a"), get("a", { revision: 2n }), get("a", { serializable: true })] });
      await client.txn({ success: [get("a", { serializable: true }), nested([get("b", { serializable: true })])] });
      await fails(
        client.txn({ success: [get("a", { revision: 8n })] }),
        11,
        "etcdserver: mvcc: required revision is a future revision",
      );
      equal((await client.range("a")).header!.revision, 3n);
    },
  },
  {
    name: "ranges inside a transaction take every option",
    async body(client) {
      for (const key of ["c", "a", "b"]) await client.put(key, `v${key}`);
      const all = { rangeEnd: bytes("z") };
      await client.txn({
        success: [
          get("a", { ...all, limit: 1n }),
          get("a", { ...all, sortOrder: 2, sortTarget: 3 }),
          get("a", { ...all, keysOnly: true, limit: 2n }),
          get("a", { ...all, countOnly: true }),
          get("a", { ...all, minModRevision: 3n }),
          get("a", { ...all, revision: 2n }),
          put("d", "vd"),
          get("a", { ...all, sortOrder: 2, sortTarget: 0, limit: 1n }),
        ],
      });
    },
  },
  {
    name: "KA7 KA8 KA9 Kubernetes' create, update and delete",
    async body(client) {
      const created = compare("/registry/a", "modRevision", Result.EQUAL, 0n);
      await client.txn({ compare: [created], success: [put("/registry/a", "1")] });
      await client.txn({ compare: [created], success: [put("/registry/a", "1")], failure: [get("/registry/a")] });
      const at = (revision: bigint) => compare("/registry/a", "modRevision", Result.EQUAL, revision);
      await client.txn({ compare: [at(2n)], success: [put("/registry/a", "2")], failure: [get("/registry/a")] });
      await client.txn({ compare: [at(2n)], success: [put("/registry/a", "3")], failure: [get("/registry/a")] });
      await client.txn({ compare: [at(2n)], success: [del("/registry/a")], failure: [get("/registry/a")] });
      await client.txn({ compare: [at(3n)], success: [del("/registry/a")], failure: [get("/registry/a")] });
    },
  },
];
