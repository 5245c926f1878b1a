import { bytesOfKey } from "../base/latin1.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Auth, AuthAnswer, Database, Permission } from "../engine/engine.ts";
import type { Call } from "../transport/transport.ts";
import type { RequestSizeCheck } from "./request-size.ts";
import { encoded, type Method } from "./unary-call.ts";
import { untilCanceled } from "./until-canceled.ts";
import {
  decodeAuthenticate,
  decodeChangePassword,
  decodeGrantPermission,
  decodeName,
  decodeRevokePermission,
  decodeUserAdd,
  decodeUserRole,
} from "./wire/auth-requests.ts";
import { headerOf } from "./wire/headers.ts";
import { Message } from "./wire/message.ts";
import { decodeEmpty } from "./wire/other-requests.ts";

/** etcdserverpb.Auth. Who may call what is the engine's to know (A10). */
export function authService(checkSize: RequestSizeCheck): Record<string, Method> {
  return Object.fromEntries(
    Object.entries({ ...storeMethods, ...userMethods, ...roleMethods }).map(([name, method]): [string, Method] => [
      `/etcdserverpb.Auth/${name}`,
      (database, message, call) => {
        const respond = method(database.auth, message, call);
        checkSize(message);
        return respond(database);
      },
    ]),
  );
}

/** Decodes; what it gives carries the request out. */
type AuthMethod = (auth: Auth, message: Buffer, call: Call) => (database: Database) => ReturnType<Method>;

/** An answer with its header, and what `fill` adds. */
const answered =
  <T extends AuthAnswer>(ask: () => MaybePromise<T>, fill?: (response: Message, answer: T) => void) =>
  (database: Database): ReturnType<Method> =>
    encoded(ask(), (answer) => {
      const response = new Message().header(headerOf(database), answer.revision);
      fill?.(response, answer);
      return response;
    });

const storeMethods: Record<string, AuthMethod> = {
  AuthEnable: (auth, message) => {
    decodeEmpty(message, "AuthEnableRequest");
    return answered(() => auth.enable());
  },
  AuthDisable: (auth, message) => {
    decodeEmpty(message, "AuthDisableRequest");
    return answered(() => auth.disable());
  },
  AuthStatus: (auth, message) => {
    decodeEmpty(message, "AuthStatusRequest");
    return answered(
      () => auth.status(),
      (response, { enabled, authRevision }) => response.bool(2, enabled).number(3, authRevision),
    );
  },
  Authenticate: (auth, message, call) => {
    const { name, password } = decodeAuthenticate(message);
    const login = { name, password, address: hostOf(call), signal: untilCanceled(call) };
    return answered(
      () => auth.authenticate(login),
      (response, { token }) => response.text(2, token),
    );
  },
};

const userMethods: Record<string, AuthMethod> = {
  UserAdd: (auth, message, call) => {
    const request = { ...decodeUserAdd(message), address: hostOf(call) };
    return answered(() => auth.userAdd(request));
  },
  UserGet: (auth, message) => {
    const name = decodeName(message, "AuthUserGetRequest", "Name");
    return answered(
      () => auth.userGet(name),
      (response, { roles }) => addNames(response, roles),
    );
  },
  UserList: (auth, message) => {
    decodeEmpty(message, "AuthUserListRequest");
    return answered(
      () => auth.userList(),
      (response, { users }) => addNames(response, users),
    );
  },
  UserDelete: (auth, message) => {
    const name = decodeName(message, "AuthUserDeleteRequest", "Name");
    return answered(() => auth.userDelete(name));
  },
  UserChangePassword: (auth, message, call) => {
    const request = { ...decodeChangePassword(message), address: hostOf(call) };
    return answered(() => auth.userChangePassword(request));
  },
  UserGrantRole: (auth, message) => {
    const request = decodeUserRole(message, "AuthUserGrantRoleRequest", "User");
    return answered(() => auth.userGrantRole(request));
  },
  UserRevokeRole: (auth, message) => {
    const request = decodeUserRole(message, "AuthUserRevokeRoleRequest", "Name");
    return answered(() => auth.userRevokeRole(request));
  },
};

const roleMethods: Record<string, AuthMethod> = {
  RoleAdd: (auth, message) => {
    const name = decodeName(message, "AuthRoleAddRequest", "Name");
    return answered(() => auth.roleAdd(name));
  },
  RoleGet: (auth, message) => {
    const name = decodeName(message, "AuthRoleGetRequest", "Role");
    return answered(
      () => auth.roleGet(name),
      (response, { permissions }) => {
        for (const permission of permissions) response.alwaysMessage(2, permissionMessage(permission));
      },
    );
  },
  RoleList: (auth, message) => {
    decodeEmpty(message, "AuthRoleListRequest");
    return answered(
      () => auth.roleList(),
      (response, { roles }) => addNames(response, roles),
    );
  },
  RoleDelete: (auth, message) => {
    const name = decodeName(message, "AuthRoleDeleteRequest", "Role");
    return answered(() => auth.roleDelete(name));
  },
  RoleGrantPermission: (auth, message) => {
    const request = decodeGrantPermission(message);
    return answered(() => auth.roleGrantPermission(request));
  },
  RoleRevokePermission: (auth, message) => {
    const request = decodeRevokePermission(message);
    return answered(() => auth.roleRevokePermission(request));
  },
};

function addNames(response: Message, names: readonly string[]): void {
  for (const name of names) response.alwaysBytes(2, bytesOfKey(name));
}

function permissionMessage({ type, key, rangeEnd }: Permission): Message {
  const message = new Message().number(1, type);
  if (key !== "") message.alwaysBytes(2, bytesOfKey(key));
  if (rangeEnd !== "") message.alwaysBytes(3, bytesOfKey(rangeEnd));
  return message;
}

/** The address without its port: one host is one, however many connections it opens. */
const hostOf = ({ remoteAddress }: Call): string => remoteAddress.replace(/:\d+$/, "");
