import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import { isDbError } from "../../base/errors.ts";
import {
  authStateOf,
  decodeAuthMeta,
  decodeRole,
  decodeUser,
  encodeAuthMeta,
  encodeRole,
  encodeUser,
} from "./auth-records.ts";

const row = (bytes: Uint8Array, key = "") => ({ bytes, start: 0, end: bytes.length, key });
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const isCorrupt = (error: unknown): boolean => isDbError(error, "corrupt");

test("golden bytes", () => {
  equal(hex(encodeAuthMeta({ enabled: true, revision: 300 })), "01ac02");
  equal(hex(encodeAuthMeta({ enabled: false, revision: 2 })), "0002");
  const user = { name: "bob", passwordHash: "$2a", roles: ["r", "s"], noPassword: false };
  equal(hex(encodeUser(user)), "0a03626f6212032432611a01721a01732200");
  equal(hex(encodeUser({ name: "c", passwordHash: "", roles: [], noPassword: true })), "0a016322020801");
  const role = {
    name: "r",
    permissions: [
      { type: 2, key: "a", rangeEnd: "\0" },
      { type: 0, key: "k", rangeEnd: "" },
    ],
  };
  equal(hex(encodeRole(role)), "0a01721208080212016" + "11a010012031201" + "6b");
});

test("what is written is read back, and what is cut or changed is corrupt or something else, never a crash", () => {
  const name = fc.string({
    minLength: 1,
    unit: fc.integer({ min: 0, max: 255 }).map((byte) => String.fromCharCode(byte)),
  });
  const user = fc.record(
    {
      name,
      passwordHash: name,
      roles: fc.array(name, { maxLength: 4 }),
      noPassword: fc.boolean(),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(user, fc.nat(), fc.integer({ min: 0, max: 255 }), (each, at, byte) => {
      const bytes = encodeUser(each);
      deepEqual(decodeUser(row(bytes)), each);
      const changed = Buffer.from(bytes);
      changed[at % bytes.length] = byte;
      for (const broken of [changed, bytes.subarray(0, at % bytes.length)]) {
        try {
          decodeUser(row(broken));
        } catch (error) {
          if (!isCorrupt(error)) throw error;
        }
      }
    }),
  );
});

test("a name under another's, unknown fields and flags are corrupt", () => {
  const bob = encodeUser({ name: "bob", passwordHash: "", roles: [], noPassword: false });
  throws(() => authStateOf({ meta: null, users: [row(bob, "eve")], roles: [] }), isCorrupt);
  equal(authStateOf({ meta: null, users: [row(bob, "bob")], roles: [] }).users.size, 1);
  for (const broken of ["02" + "05", "01", "0100", "010203", ""]) {
    throws(() => decodeAuthMeta(row(Buffer.from(broken, "hex"))), isCorrupt, broken);
  }
  for (const broken of ["0a0162" + "2a00", "0a00", "0a0162" + "22020802", "0a05"]) {
    throws(() => decodeUser(row(Buffer.from(broken, "hex"))), isCorrupt, broken);
  }
  throws(() => decodeRole(row(Buffer.from("0a0172" + "12021801", "hex"))), isCorrupt);
});
