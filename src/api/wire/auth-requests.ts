import type { Permission } from "../../engine/engine.ts";
import { WireReader } from "./reader.ts";

/**
 * The requests of etcdserverpb.Auth. Names are byte strings, held as keys are; a password is a view into the message.
 */

const NO_BYTES = new Uint8Array(0);

const authenticateFields = [undefined, "Name", "Password"];

export function decodeAuthenticate(message: Buffer): { name: string; password: Uint8Array } {
  const reader = new WireReader(message);
  const request = { name: "", password: NO_BYTES as Uint8Array };
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag === 0x0a) request.name = reader.latin1();
    else if (tag === 0x12) request.password = reader.view();
    else reader.other("AuthenticateRequest", authenticateFields);
  }
  return request;
}

export interface UserAddRequest {
  name: string;
  password: Uint8Array;
  noPassword: boolean;
}

const userAddFields = [undefined, "Name", "Password", "Options", "HashedPassword"];

/** `hashedPassword` is etcd's own, for its log: one that a client sends is passed over. */
export function decodeUserAdd(message: Buffer): UserAddRequest {
  const reader = new WireReader(message);
  const { end } = reader;
  const request: UserAddRequest = { name: "", password: NO_BYTES, noPassword: false };
  while (reader.at < end) {
    const tag = reader.tag();
    if (tag === 0x0a) request.name = reader.latin1();
    else if (tag === 0x12) request.password = reader.view();
    else if (tag === 0x22) reader.view();
    else if (tag === 0x1a) {
      const length = reader.length();
      reader.end = reader.at + length;
      readOptions(reader, request);
      reader.end = end;
    } else reader.other("AuthUserAddRequest", userAddFields);
  }
  return request;
}

const optionFields = [undefined, "NoPassword"];

function readOptions(reader: WireReader, request: UserAddRequest): void {
  while (reader.at < reader.end) {
    if (reader.tag() === 0x08) request.noPassword = reader.bool();
    else reader.other("UserAddOptions", optionFields);
  }
}

const changePasswordFields = [undefined, "Name", "Password", "HashedPassword"];

export function decodeChangePassword(message: Buffer): { name: string; password: Uint8Array; hashedPassword: string } {
  const reader = new WireReader(message);
  const request = { name: "", password: NO_BYTES as Uint8Array, hashedPassword: "" };
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag === 0x0a) request.name = reader.latin1();
    else if (tag === 0x12) request.password = reader.view();
    else if (tag === 0x1a) request.hashedPassword = reader.latin1();
    else reader.other("AuthUserChangePasswordRequest", changePasswordFields);
  }
  return request;
}

/** A request whose one field is a name; `field` as etcd's decoder calls it. */
export function decodeName(message: Buffer, what: string, field: "Name" | "Role"): string {
  const reader = new WireReader(message);
  let name = "";
  while (reader.at < reader.end) {
    if (reader.tag() === 0x0a) name = reader.latin1();
    else reader.other(what, [undefined, field]);
  }
  return name;
}

/** AuthUserGrantRole calls its first field User, AuthUserRevokeRole Name. */
export function decodeUserRole(message: Buffer, what: string, field: "User" | "Name"): { user: string; role: string } {
  const reader = new WireReader(message);
  const request = { user: "", role: "" };
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag === 0x0a) request.user = reader.latin1();
    else if (tag === 0x12) request.role = reader.latin1();
    else reader.other(what, [undefined, field, "Role"]);
  }
  return request;
}

const grantFields = [undefined, "Name", "Perm"];

export function decodeGrantPermission(message: Buffer): { role: string; permission: Permission | null } {
  const reader = new WireReader(message);
  const { end } = reader;
  const request: { role: string; permission: Permission | null } = { role: "", permission: null };
  while (reader.at < end) {
    const tag = reader.tag();
    if (tag === 0x0a) request.role = reader.latin1();
    else if (tag === 0x12) {
      const length = reader.length();
      reader.end = reader.at + length;
      request.permission = readPermission(reader, request.permission);
      reader.end = end;
    } else reader.other("AuthRoleGrantPermissionRequest", grantFields);
  }
  return request;
}

const permissionFields = [undefined, "PermType", "Key", "RangeEnd"];

/** A field that comes twice is merged, as protobuf has it. */
function readPermission(reader: WireReader, before: Permission | null): Permission {
  const permission = { type: 0, key: "", rangeEnd: "", ...before };
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag === 0x08) permission.type = reader.enumeration();
    else if (tag === 0x12) permission.key = reader.latin1();
    else if (tag === 0x1a) permission.rangeEnd = reader.latin1();
    else reader.other("Permission", permissionFields);
  }
  return permission;
}

const revokeFields = [undefined, "Role", "Key", "RangeEnd"];

export function decodeRevokePermission(message: Buffer): { role: string; key: string; rangeEnd: string } {
  const reader = new WireReader(message);
  const request = { role: "", key: "", rangeEnd: "" };
  while (reader.at < reader.end) {
    const tag = reader.tag();
    if (tag === 0x0a) request.role = reader.latin1();
    else if (tag === 0x12) request.key = reader.latin1();
    else if (tag === 0x1a) request.rangeEnd = reader.latin1();
    else reader.other("AuthRoleRevokePermissionRequest", revokeFields);
  }
  return request;
}
