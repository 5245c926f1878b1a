import { equal } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import { permissionTypes } from "../engine.ts";
import { Permissions } from "./permissions.ts";

/** Keys of up to two of these characters: then a range can be tried key by key. */
const CHARACTERS = ["\0", "a", "b", "c", "\xff"];
const allKeys = [...CHARACTERS, ...CHARACTERS.flatMap((one) => CHARACTERS.map((other) => one + other))];
const key = fc.constantFrom(...allKeys);
const end = fc.constantFrom("", "\0", ...allKeys);
const permission = fc.record({ type: fc.constantFrom(0, 1, 2, 7), key, rangeEnd: end });

const isIn = (one: string, { key: from, rangeEnd }: { key: string; rangeEnd: string }): boolean =>
  rangeEnd === "" ? one === from : from <= one && (rangeEnd === "\0" || one < rangeEnd);

/** Beside every key of the sample, the keys that lie just behind it. */
const probes = allKeys.flatMap((one) => [one, `${one}\0`, `${one}~`]);

test("a range is permitted just when each of its keys is, by whatever grant", () => {
  fc.assert(
    fc.property(fc.array(permission, { maxLength: 6 }), key, end, (granted, from, rangeEnd) => {
      const permissions = new Permissions(granted);
      for (const [access, types] of [
        ["read", [permissionTypes.read, permissionTypes.readWrite]],
        ["write", [permissionTypes.write, permissionTypes.readWrite]],
      ] as const) {
        const counted = granted.filter(({ type }) => (types as readonly number[]).includes(type));
        const asked = probes.filter((one) => isIn(one, { key: from, rangeEnd }));
        // An empty range, and an open one, which has keys beyond every probe, are asked about below.
        if (asked.length === 0 || rangeEnd === "\0") continue;
        const expected = asked.every((one) => counted.some((each) => isIn(one, each)));
        equal(permissions[access].holds(from, rangeEnd), expected);
      }
    }),
    { numRuns: 2000 },
  );
});

test("an open end takes an open end", () => {
  const read = (key: string, rangeEnd: string) => ({ type: permissionTypes.read, key, rangeEnd });
  const some = new Permissions([read("a", "m"), read("k", "\xff\xff")]);
  equal(some.read.holds("b", "\0"), false);
  const open = new Permissions([read("a", "m"), read("k", "\0"), read("c", "d")]);
  equal(open.read.size, 1);
  equal(open.read.holds("b", "\0"), true);
  equal(open.read.holds("A", "\0"), false);
  equal(open.write.holds("b", ""), false);
});

test("a single key's permission is for that key alone (GHSA-xg4h-6gfc-h4m8)", () => {
  const { read } = new Permissions([{ type: permissionTypes.read, key: "k", rangeEnd: "" }]);
  equal(read.holds("k", ""), true);
  equal(read.holds("k", "k\0"), true);
  for (const [from, to] of [
    ["k", "\0"],
    ["k", "l"],
    ["k", "k\0\0"],
    ["k\0", ""],
    ["j", "k\0"],
  ] as const) {
    equal(read.holds(from, to), false, `${from} to ${to}`);
  }
});
