import { DbError } from "../../base/errors.ts";
import type { Permission } from "../engine.ts";
import { AuthState, hasRoleRoot, ROOT, type Role, type User } from "./auth-state.ts";

/**
 * What changes users and roles: pure, from one state to the next, with etcd's checks in etcd's order (A2, A6 to A9).
 * Throws DbError; null: all is as it was asked to be, nothing is written.
 */
export interface AuthChange {
  readonly state: AuthState;
  /** The state's users and roles that are new, changed or (by name alone) gone. */
  readonly users: readonly Written<User>[];
  readonly roles: readonly Written<Role>[];
  /** Tokens end with it: of this user, or (null) of all. */
  readonly ends?: { readonly user: string | null };
}

/** `value` null: gone. */
export interface Written<T> {
  readonly name: string;
  readonly value: T | null;
  readonly isNew: boolean;
}

export function enable(state: AuthState): AuthChange | null {
  if (state.enabled) return null;
  const root = state.users.get(ROOT);
  if (root === undefined) throw new DbError("rootUserNotExist");
  if (!hasRoleRoot(root)) throw new DbError("rootRoleNotExist");
  // It is no change of what may be done: the revision stays (A1).
  return { state: new AuthState({ ...state, enabled: true }), users: [], roles: [] };
}

export function disable(state: AuthState): AuthChange | null {
  if (!state.enabled) return null;
  const next = new AuthState({ ...state, enabled: false, revision: state.revision + 1 });
  return { state: next, users: [], roles: [], ends: { user: null } };
}

/** `passwordHash` is null for a user without a password. */
export function addUser(state: AuthState, request: { name: string; passwordHash: string | null }): AuthChange {
  const { name, passwordHash } = request;
  if (name === "") throw new DbError("userEmpty");
  if (state.users.has(name)) throw new DbError("userExists");
  const user = { name, passwordHash: passwordHash ?? "", roles: [], noPassword: passwordHash === null };
  return changed(state, { users: [{ name, value: user, isNew: true }] });
}

export function deleteUser(state: AuthState, name: string): AuthChange {
  if (state.enabled && name === ROOT) throw new DbError("invalidAuthManagement");
  userOf(state, name);
  return { ...changed(state, { users: [{ name, value: null, isNew: false }] }), ends: { user: name } };
}

export function changePassword(state: AuthState, request: { name: string; passwordHash: string }): AuthChange {
  const { name, passwordHash } = request;
  const user = userOf(state, name);
  const value = user.noPassword ? user : { ...user, passwordHash };
  return { ...changed(state, { users: [{ name, value, isNew: false }] }), ends: { user: name } };
}

export function grantRole(state: AuthState, { user: name, role }: { user: string; role: string }): AuthChange | null {
  const user = userOf(state, name);
  if (role !== ROOT) roleOf(state, role);
  if (user.roles.includes(role)) return null;
  return changed(state, { users: [{ name, value: { ...user, roles: [...user.roles, role].sort() }, isNew: false }] });
}

export function revokeRole(state: AuthState, { user: name, role }: { user: string; role: string }): AuthChange {
  if (state.enabled && name === ROOT && role === ROOT) throw new DbError("invalidAuthManagement");
  const user = userOf(state, name);
  if (!user.roles.includes(role)) throw new DbError("roleNotGranted");
  return changed(state, { users: [{ name, value: withoutRole(user, role), isNew: false }] });
}

export function addRole(state: AuthState, name: string): AuthChange {
  if (name === "") throw new DbError("roleEmpty");
  if (state.roles.has(name)) throw new DbError("roleExists");
  return changed(state, { roles: [{ name, value: { name, permissions: [] }, isNew: true }] });
}

/** It is taken from all who have it (A8). */
export function deleteRole(state: AuthState, name: string): AuthChange {
  if (state.enabled && name === ROOT) throw new DbError("invalidAuthManagement");
  roleOf(state, name);
  const users = [...state.users.values()].filter(({ roles }) => roles.includes(name));
  return changed(state, {
    roles: [{ name, value: null, isNew: false }],
    users: users.map((user) => ({ name: user.name, value: withoutRole(user, name), isNew: false })),
  });
}

export function grantPermission(
  state: AuthState,
  { role: name, permission }: { role: string; permission: Permission | null },
): AuthChange {
  if (permission === null) throw new DbError("permissionNotGiven");
  if (permission.type < 0) throw new DbError("invalidArgument", `t4: permission type ${permission.type} is unknown`);
  if (!isRange(permission)) throw new DbError("invalidAuthManagement");
  const role = roleOf(state, name);
  const permissions = withPermission(role.permissions, permission);
  return changed(state, { roles: [{ name, value: { name, permissions }, isNew: false }] });
}

/** In the order of keys, those of one key as they came; one of the same range is replaced where it stands. */
function withPermission(held: readonly Permission[], permission: Permission): Permission[] {
  const at = firstBehind(held, permission.key);
  for (let same = at - 1; same >= 0 && held[same]!.key === permission.key; same--) {
    if (held[same]!.rangeEnd === permission.rangeEnd) return held.with(same, permission);
  }
  return held.toSpliced(at, 0, permission);
}

/** The index of the first permission whose key is greater. */
function firstBehind(held: readonly Permission[], key: string): number {
  let low = 0;
  let high = held.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (held[middle]!.key <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function revokePermission(
  state: AuthState,
  { role: name, key, rangeEnd }: { role: string; key: string; rangeEnd: string },
): AuthChange {
  const role = roleOf(state, name);
  const permissions = role.permissions.filter((held) => !isSameRange(held, { key, rangeEnd }));
  if (permissions.length === role.permissions.length) throw new DbError("permissionNotGranted");
  return changed(state, { roles: [{ name, value: { name, permissions }, isNew: false }] });
}

export function userOf(state: AuthState, name: string): User {
  const user = state.users.get(name);
  if (user === undefined) throw new DbError("userNotFound");
  return user;
}

export function roleOf(state: AuthState, name: string): Role {
  const role = state.roles.get(name);
  if (role === undefined) throw new DbError("roleNotFound");
  return role;
}

const withoutRole = (user: User, role: string): User => ({ ...user, roles: user.roles.filter((one) => one !== role) });

/** Row A9: a key, and an end behind it, or none, or the open one. */
const isRange = ({ key, rangeEnd }: Permission): boolean =>
  key !== "" && (rangeEnd === "" || rangeEnd === "\0" || key < rangeEnd);

const isSameRange = (a: Range, b: Range): boolean => a.key === b.key && a.rangeEnd === b.rangeEnd;

type Range = Pick<Permission, "key" | "rangeEnd">;

function changed(state: AuthState, written: { users?: Written<User>[]; roles?: Written<Role>[] }): AuthChange {
  const { users = [], roles = [] } = written;
  const next = new AuthState({
    enabled: state.enabled,
    revision: state.revision + 1,
    users: users.length === 0 ? state.users : merged(state.users, users),
    roles: roles.length === 0 ? state.roles : merged(state.roles, roles),
  });
  return { state: next, users, roles };
}

function merged<T>(values: ReadonlyMap<string, T>, written: readonly Written<T>[]): Map<string, T> {
  const next = new Map(values);
  for (const { name, value } of written) {
    if (value === null) next.delete(name);
    else next.set(name, value);
  }
  return next;
}
