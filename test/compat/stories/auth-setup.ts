import type { MessageInitShape } from "@bufbuild/protobuf";
import { Permission_Type, type PermissionSchema } from "../../../src/gen/authpb/auth_pb.ts";
import { Auth } from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes, type EtcdClient } from "../client.ts";

/** etcd's codes and texts of authentication. */
export const refusals = {
  rootUserNotExist: [9, "etcdserver: root user does not exist"],
  rootRoleNotExist: [9, "etcdserver: root user does not have root role"],
  userExists: [9, "etcdserver: user name already exists"],
  userEmpty: [3, "etcdserver: user name is empty"],
  userNotFound: [9, "etcdserver: user name not found"],
  roleExists: [9, "etcdserver: role name already exists"],
  roleNotFound: [9, "etcdserver: role name not found"],
  roleEmpty: [3, "etcdserver: role name is empty"],
  authFailed: [3, "etcdserver: authentication failed, invalid user ID or password"],
  permissionNotGiven: [3, "etcdserver: permission not given"],
  permissionDenied: [7, "etcdserver: permission denied"],
  roleNotGranted: [9, "etcdserver: role is not granted to the user"],
  permissionNotGranted: [9, "etcdserver: permission is not granted to the role"],
  notEnabled: [9, "etcdserver: authentication is not enabled"],
  invalidToken: [16, "etcdserver: invalid auth token"],
  invalidManagement: [3, "etcdserver: invalid auth management"],
  noPasswordUser: [2, "auth: authentication failed, password was given for no password user"],
} as const satisfies Record<string, readonly [number, string]>;

export const { READ, WRITE, READWRITE } = Permission_Type;

/** The calls of Auth, by what they are about. */
export const auth = {
  addUser: (client: EtcdClient, name: string, password = name) => client.call(Auth.method.userAdd, { name, password }),
  addRole: (client: EtcdClient, name: string) => client.call(Auth.method.roleAdd, { name }),
  give: (client: EtcdClient, user: string, role: string) => client.call(Auth.method.userGrantRole, { user, role }),
  take: (client: EtcdClient, name: string, role: string) => client.call(Auth.method.userRevokeRole, { name, role }),
  permit: (client: EtcdClient, name: string, permission: Permit) =>
    client.call(Auth.method.roleGrantPermission, { name, perm: permissionOf(permission) }),
  forbid: (client: EtcdClient, role: string, key: string, end = "") =>
    client.call(Auth.method.roleRevokePermission, { role, key: bytes(key), rangeEnd: bytes(end) }),
  status: (client: EtcdClient) => client.call(Auth.method.authStatus, {}),
  enable: (client: EtcdClient) => client.call(Auth.method.authEnable, {}),
  disable: (client: EtcdClient) => client.call(Auth.method.authDisable, {}),
};

type Permit = readonly [type: Permission_Type, key: string, end?: string];

function permissionOf([permType, key, end = ""]: Permit): MessageInitShape<typeof PermissionSchema> {
  return { permType, key: bytes(key), rangeEnd: bytes(end) };
}

/**
 * Users root and (each with one role of its own name and these permissions) others, their passwords being their names;
 * authentication on. Gives a client for each.
 */
export async function withUsers<const Name extends string>(
  client: EtcdClient,
  users: Readonly<Record<Name, readonly Permit[]>>,
): Promise<Record<Name | "root", EtcdClient>> {
  await client.transcript.silently(async () => {
    await auth.addUser(client, "root");
    await auth.give(client, "root", "root");
    for (const [name, permissions] of Object.entries<readonly Permit[]>(users)) {
      await auth.addUser(client, name);
      await auth.addRole(client, name);
      await auth.give(client, name, name);
      for (const permission of permissions) await auth.permit(client, name, permission);
    }
    await auth.enable(client);
  });
  const clients: Record<string, EtcdClient> = {};
  for (const name of ["root", ...Object.keys(users)]) clients[name] = await client.login(name, name);
  return clients as Record<Name | "root", EtcdClient>;
}
