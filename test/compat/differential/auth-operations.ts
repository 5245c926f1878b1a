import type { Dice } from "./operations.ts";

/**
 * Random operations on users, roles and permissions, and on keys, leases and watches as users. Plain data; users are
 * numbers, whoever logs in keeps the token until a call finds it ended.
 */
export type AuthOperation =
  | { readonly kind: "auth"; readonly as: Caller; readonly call: AuthCall }
  | { readonly kind: "keys"; readonly as: Caller; readonly call: KeyCall }
  | { readonly kind: "login"; readonly user: string; readonly password: string }
  /** Ends authentication and sets it up again as root: else the dice soon lock everybody out. */
  | { readonly kind: "setUp" };

/** "": without a token; "stranger": with one that is none. */
export type Caller = string;

export type AuthCall =
  | { readonly name: "enable" | "disable" | "status" | "userList" | "roleList" }
  | { readonly name: "userAdd" | "changePassword"; readonly user: string; readonly password: string }
  | { readonly name: "userGet" | "userDelete"; readonly user: string }
  | { readonly name: "grantRole" | "revokeRole"; readonly user: string; readonly role: string }
  | { readonly name: "roleAdd" | "roleGet" | "roleDelete"; readonly role: string }
  | { readonly name: "permit"; readonly role: string; readonly type: number | null; readonly range: Range }
  | { readonly name: "forbid"; readonly role: string; readonly range: Range };

export interface Range {
  readonly key: string;
  readonly end: string;
}

export type KeyCall =
  | ({ readonly name: "range" } & Range)
  | ({ readonly name: "delete"; readonly prevKv: boolean } & Range)
  | { readonly name: "put"; readonly key: string; readonly prevKv: boolean; readonly lease: number }
  | { readonly name: "txn"; readonly compare: readonly Range[]; readonly branches: readonly [KeyCall[], KeyCall[]] }
  | ({ readonly name: "watch" } & Range)
  | { readonly name: "grant" | "revoke" | "timeToLive" | "timeToLiveKeys" | "keepAlive"; readonly lease: number }
  | { readonly name: "leases" | "compact" | "alarms" };

const users = ["root", "ann", "bob", "cyd"];
const roles = ["root", "r", "s", "t"];
const keys = ["a", "b", "c", "d", "e"];
/** Of each key one range alone: etcd 3.6.16 grants the same range twice where one key begins several. */
const grants: readonly Range[] = [
  { key: "a", end: "" },
  { key: "b", end: "d" },
  { key: "c", end: "\0" },
  { key: "d", end: "f" },
  { key: "\0", end: "\0" },
];
/** Refused, all of them. */
const badGrants: readonly Range[] = [
  { key: "", end: "" },
  { key: "e", end: "d" },
  { key: "e", end: "e" },
];

export function authOperation(dice: Dice): AuthOperation {
  const roll = dice.next();
  if (roll < 0.01) return { kind: "setUp" };
  if (roll < 0.05) {
    const user = dice.one(users);
    return { kind: "login", user, password: dice.chance(0.8) ? user : dice.one(["x", "", "new"]) };
  }
  const as = dice.chance(0.9) ? dice.one(users) : dice.one(["", "stranger"]);
  if (roll < 0.4) return { kind: "auth", as: dice.chance(0.6) ? "root" : as, call: authCall(dice) };
  return { kind: "keys", as, call: keyCall(dice, 0) };
}

function authCall(dice: Dice): AuthCall {
  const user = dice.chance(0.95) ? dice.one(users) : dice.one(["", "nobody"]);
  const role = dice.chance(0.95) ? dice.one(roles) : dice.one(["", "nothing"]);
  const name = dice.one([
    ...(["status", "userList", "roleList", "userGet", "roleGet"] as const),
    ...(["userAdd", "userAdd", "changePassword", "roleAdd", "roleAdd", "grantRole", "grantRole", "grantRole"] as const),
    ...(["permit", "permit", "permit", "permit", "forbid", "revokeRole", "userDelete", "roleDelete"] as const),
    ...(dice.chance(0.1) ? (["disable", "enable"] as const) : (["enable"] as const)),
  ]);
  switch (name) {
    case "userAdd":
    case "changePassword":
      return { name, user, password: dice.chance(0.9) ? user : "new" };
    case "userGet":
    case "userDelete":
      return { name, user };
    case "grantRole":
    case "revokeRole":
      return { name, user, role };
    case "roleAdd":
    case "roleGet":
    case "roleDelete":
      return { name, role };
    case "permit": {
      const range = dice.chance(0.95) ? dice.one(grants) : dice.one(badGrants);
      return { name, role, type: dice.chance(0.97) ? dice.below(3) : null, range };
    }
    case "forbid":
      return { name, role, range: dice.one(grants) };
    default:
      return { name };
  }
}

/** Never backwards: whether etcd permits such a range, which holds nothing, depends on the shape of a tree. */
function range(dice: Dice): Range {
  const key = dice.one(keys);
  const end = dice.chance(0.5) ? "" : dice.one(["b", "d", "f", "\0", "c"]);
  return { key, end: end === "\0" || end > key ? end : "" };
}

function keyCall(dice: Dice, depth: number): KeyCall {
  const lease = dice.below(3) + 1;
  const roll = dice.next();
  if (roll < 0.25) return { name: "range", ...range(dice) };
  if (roll < 0.5) {
    return { name: "put", key: dice.one(keys), prevKv: dice.chance(0.2), lease: dice.chance(0.3) ? lease : 0 };
  }
  if (roll < 0.6) return { name: "delete", ...range(dice), prevKv: dice.chance(0.3) };
  if (roll < 0.75 || depth > 0) return depth < 3 ? txn(dice, depth) : { name: "range", ...range(dice) };
  if (roll < 0.8) return { name: "watch", ...range(dice) };
  if (roll < 0.96) return { name: dice.one(["grant", "revoke", "timeToLive", "timeToLiveKeys", "keepAlive"]), lease };
  return { name: dice.one(["leases", "compact", "alarms"]) };
}

/** No key twice in a branch, nested ones included: that would be refused before anyone's permission is looked at. */
function txn(dice: Dice, depth: number): KeyCall {
  const compare = dice.list(1, () => range(dice));
  const branch = (): KeyCall[] => dice.list(2, () => keyCall(dice, depth + 1));
  return { name: "txn", compare, branches: [branch(), branch()] };
}
