import { DbError } from "../../base/errors.ts";
import type { Permission } from "../engine.ts";
import { Permissions } from "./permissions.ts";

export const ROOT = "root";

export interface User {
  readonly name: string;
  /** A bcrypt hash as text; "" has no password that fits. */
  readonly passwordHash: string;
  /** In byte order, each once. */
  readonly roles: readonly string[];
  readonly noPassword: boolean;
}

export interface Role {
  readonly name: string;
  /** In the order of their keys. */
  readonly permissions: readonly Permission[];
}

/** The auth store's revision before anything was changed in it (A1). */
export const FIRST_AUTH_REVISION = 1;

/**
 * Users, roles and whether authentication is on, at one auth revision. Never changed: a change makes a new one
 * (auth-changes.ts). What a user may do is worked out when it is first asked for, and kept with the state.
 */
export class AuthState {
  readonly enabled: boolean;
  readonly revision: number;
  readonly users: ReadonlyMap<string, User>;
  readonly roles: ReadonlyMap<string, Role>;
  readonly #permissions = new Map<string, Permissions>();

  constructor(parts: Pick<AuthState, "enabled" | "revision" | "users" | "roles">) {
    this.enabled = parts.enabled;
    this.revision = parts.revision;
    this.users = parts.users;
    this.roles = parts.roles;
  }

  static readonly empty = new AuthState({
    enabled: false,
    revision: FIRST_AUTH_REVISION,
    users: new Map(),
    roles: new Map(),
  });

  permissionsOf(user: User): Permissions {
    let permissions = this.#permissions.get(user.name);
    if (permissions === undefined) {
      permissions = new Permissions(user.roles.flatMap((role) => this.roles.get(role)?.permissions ?? []));
      this.#permissions.set(user.name, permissions);
    }
    return permissions;
  }
}

/** Who makes a call, by its token or certificate; `revision` is that of the token, or of the moment it was shown. */
export interface Caller {
  readonly name: string;
  readonly revision: number;
}

export type Access = "read" | "write";

export const hasRoleRoot = (user: User): boolean => user.roles.includes(ROOT);

/** Whether all of a range may be read or written; throws why not. `caller` null: nobody is logged in. */
export function checkRange(
  state: AuthState,
  caller: Caller | null,
  access: Access,
  { key, rangeEnd }: { key: string; rangeEnd: string },
): void {
  if (!state.enabled) return;
  if (caller === null) throw new DbError("userEmpty");
  // The rule for both sides: a token of the past, and one of a future that this history does not have.
  if (caller.revision !== state.revision) throw new DbError("authOldRevision");
  const user = state.users.get(caller.name);
  if (user === undefined) throw new DbError("permissionDenied");
  if (hasRoleRoot(user)) return;
  if (!state.permissionsOf(user)[access].holds(key, rangeEnd)) throw new DbError("permissionDenied");
}

/** A token of an older revision is good enough here, as in etcd: what counts is that its user has the role now. */
export function checkRoot(state: AuthState, caller: Caller | null): void {
  const refusal = rootRefusal(state, caller);
  if (refusal !== null) throw new DbError(refusal);
}

export const isRoot = (state: AuthState, caller: Caller | null): boolean => rootRefusal(state, caller) === null;

function rootRefusal(
  state: AuthState,
  caller: Caller | null,
): "userEmpty" | "userNotFound" | "permissionDenied" | null {
  if (!state.enabled) return null;
  if (caller === null || caller.name === "") return "userEmpty";
  const user = state.users.get(caller.name);
  if (user === undefined) return "userNotFound";
  return hasRoleRoot(user) ? null : "permissionDenied";
}
