import { DbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Access } from "./access.ts";
import * as changes from "./auth/auth-changes.ts";
import { type AuthState, type Caller, isRoot, ROOT } from "./auth/auth-state.ts";
import type { AuthDesk, Guard } from "./auth-desk.ts";
import type { Draft } from "./draft.ts";
import {
  type Auth,
  type AuthAnswer,
  type Login,
  type NewUser,
  type PasswordChange,
  type Permission,
  permissionTypes,
} from "./engine.ts";

/** etcd shows this for the role root, whatever was granted to it. */
const everything: Permission = { type: permissionTypes.readWrite, key: "", rangeEnd: "\0" };

/** The calls of Auth on behalf of one caller (A10); `access` null: of the program itself, which may do all. */
export class AuthCalls implements Auth {
  readonly #desk: AuthDesk;
  readonly #access: Access | null;

  constructor(desk: AuthDesk, access: Access | null) {
    this.#desk = desk;
    this.#access = access;
  }

  get revision(): number {
    return this.#desk.committed.revision;
  }

  enable(): MaybePromise<AuthAnswer> {
    return this.#change(changes.enable, null);
  }

  disable(): MaybePromise<AuthAnswer> {
    return this.#change(changes.disable, null);
  }

  status(): MaybePromise<AuthAnswer & { enabled: boolean; authRevision: number }> {
    return this.#look(({ enabled, revision }) => ({ enabled, authRevision: revision }), this.#asRoot());
  }

  authenticate(login: Login): Promise<AuthAnswer & { token: string }> {
    return this.#desk.authenticate(login);
  }

  userAdd({ name, password, noPassword, address }: NewUser): MaybePromise<AuthAnswer> {
    if (noPassword) return this.#change(changes.addUser, { name, passwordHash: null });
    return this.#hashed(password, address, (passwordHash) => this.#change(changes.addUser, { name, passwordHash }));
  }

  userChangePassword(request: PasswordChange): MaybePromise<AuthAnswer> {
    const { name, password, hashedPassword, address } = request;
    const change = (passwordHash: string) => this.#change(changes.changePassword, { name, passwordHash });
    if (password.length > 0) return this.#hashed(password, address, change);
    const given = hashOf(hashedPassword);
    if (given !== null) return change(given);
    // As etcd: the user must exist for this to matter, and must have a password.
    return this.#change((state: AuthState) => {
      if (!changes.userOf(state, name).noPassword) throw new DbError("noPasswordUser");
      return changes.changePassword(state, { name, passwordHash: "" });
    }, null);
  }

  /** Whoever may not change anything is told so before a hash is made. */
  #hashed(
    password: Uint8Array,
    address: string,
    change: (passwordHash: string) => MaybePromise<AuthAnswer>,
  ): Promise<AuthAnswer> {
    this.#access?.require("root");
    return this.#desk.hash(password, address).then(change);
  }

  userGet(name: string): MaybePromise<AuthAnswer & { roles: readonly string[] }> {
    const isOwn = (caller: Caller | null): boolean => name === (caller?.name ?? "");
    return this.#look((state) => ({ roles: changes.userOf(state, name).roles }), this.#asRootOr(isOwn));
  }

  userList(): MaybePromise<AuthAnswer & { users: readonly string[] }> {
    return this.#look(({ users }) => ({ users: [...users.keys()].sort() }), this.#asRoot());
  }

  userDelete(name: string): MaybePromise<AuthAnswer> {
    return this.#change(changes.deleteUser, name);
  }

  userGrantRole(request: { user: string; role: string }): MaybePromise<AuthAnswer> {
    return this.#change(changes.grantRole, request);
  }

  userRevokeRole(request: { user: string; role: string }): MaybePromise<AuthAnswer> {
    return this.#change(changes.revokeRole, request);
  }

  roleAdd(name: string): MaybePromise<AuthAnswer> {
    return this.#change(changes.addRole, name);
  }

  roleGet(name: string): MaybePromise<AuthAnswer & { permissions: readonly Permission[] }> {
    const isOwn = (caller: Caller | null): boolean =>
      caller !== null && (this.#desk.head.users.get(caller.name)?.roles.includes(name) ?? false);
    return this.#look((state) => {
      const { permissions } = changes.roleOf(state, name);
      return { permissions: name === ROOT ? [everything] : permissions };
    }, this.#asRootOr(isOwn));
  }

  roleList(): MaybePromise<AuthAnswer & { roles: readonly string[] }> {
    return this.#look(({ roles }) => ({ roles: [...roles.keys()].sort() }), this.#asRoot());
  }

  roleDelete(name: string): MaybePromise<AuthAnswer> {
    return this.#change(changes.deleteRole, name);
  }

  roleGrantPermission(request: { role: string; permission: Permission | null }): MaybePromise<AuthAnswer> {
    return this.#change(changes.grantPermission, request);
  }

  roleRevokePermission(request: { role: string; key: string; rangeEnd: string }): MaybePromise<AuthAnswer> {
    return this.#change(changes.revokePermission, request);
  }

  #change<Request>(
    make: (state: AuthState, request: Request) => changes.AuthChange | null,
    request: Request,
  ): MaybePromise<AuthAnswer> {
    return this.#desk.change(make, request, this.#asRoot());
  }

  /** What is looked at is the head's, like a change: the answer waits until that is durable. */
  #look<Result extends object>(
    look: (state: AuthState) => Result,
    guard: Guard | null,
  ): MaybePromise<AuthAnswer & Result> {
    const evaluate = ({ revision }: Draft) => ({ ...look(this.#desk.head), revision });
    return this.#desk.run(evaluate, null, guard);
  }

  #asRoot(): Guard | null {
    return this.#access?.root() ?? null;
  }

  #asRootOr(isOwn: (caller: Caller | null) => boolean): Guard | null {
    if (this.#access === null) return null;
    const caller = this.#access.arrive();
    const asRoot = this.#access.root();
    return (draft) => {
      if (!isRoot(this.#desk.head, caller) && !isOwn(caller)) asRoot(draft);
    };
  }
}

/** Go's strict base64, which passes over line ends; null: it is none. */
function hashOf(base64: string): string | null {
  const text = base64.replace(/[\r\n]/g, "");
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  return Buffer.from(text, "base64").latin1Slice();
}
