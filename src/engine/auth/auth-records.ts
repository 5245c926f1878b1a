import { assert } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";
import { ByteReader, varintSize, writeVarint } from "../../base/varint.ts";
import type { Permission, Row } from "../engine.ts";
import { AuthState, type Role, type User } from "./auth-state.ts";

/**
 * What the spaces `users` and `roles` hold: authpb.User and authpb.Role in protobuf, byte for byte as etcd's own
 * encoder writes them (a snapshot takes them over as they are); the key is the name. The space `meta` holds under
 * "auth" whether authentication is on, and the auth revision (docs/formats/record.md).
 */
export const AUTH_META_KEY = "auth";

const ENABLED = 1;

export function encodeAuthMeta({ enabled, revision }: { enabled: boolean; revision: number }): Uint8Array {
  const bytes = new Uint8Array(1 + varintSize(revision));
  bytes[0] = enabled ? ENABLED : 0;
  writeVarint(bytes, 1, revision);
  return bytes;
}

export function decodeAuthMeta(row: Row): { enabled: boolean; revision: number } {
  return read("meta auth", row, (reader) => {
    const flags = reader.u8();
    if (flags > ENABLED) throw new RangeError(`has unknown flags ${flags}`);
    const revision = reader.varint();
    if (revision < 1) throw new RangeError("has revision 0");
    if (reader.left !== 0) throw new RangeError("goes on");
    return { enabled: flags === ENABLED, revision };
  });
}

const NAME = 0x0a;
const PASSWORD = 0x12;
const ROLE = 0x1a;
const OPTIONS = 0x22;
const NO_PASSWORD = 0x08;

export function encodeUser({ name, passwordHash, roles, noPassword }: User): Uint8Array {
  const writer = new FieldWriter();
  writer.text(NAME, name);
  if (passwordHash !== "") writer.text(PASSWORD, passwordHash);
  for (const role of roles) writer.text(ROLE, role);
  writer.bytes(OPTIONS, noPassword ? Buffer.of(NO_PASSWORD, 1) : Buffer.alloc(0));
  return writer.finish();
}

export function decodeUser(row: Row): User {
  return read("user", row, (reader) => {
    let user: User = { name: "", passwordHash: "", roles: [], noPassword: false };
    while (reader.left > 0) {
      const tag = reader.u8();
      if (tag === NAME) user = { ...user, name: text(reader) };
      else if (tag === PASSWORD) user = { ...user, passwordHash: text(reader) };
      else if (tag === ROLE) user = { ...user, roles: [...user.roles, text(reader)] };
      else if (tag === OPTIONS) user = { ...user, noPassword: readOptions(reader) };
      else throw new RangeError(`has an unknown field ${tag}`);
    }
    if (user.name === "") throw new RangeError("has no name");
    return user;
  });
}

function readOptions(reader: ByteReader): boolean {
  const options = new ByteReader(reader.take(reader.varint()));
  if (options.left === 0) return false;
  const known = options.u8() === NO_PASSWORD && options.u8() === 1 && options.left === 0;
  if (!known) throw new RangeError("has unknown options");
  return true;
}

const PERMISSION = 0x12;
const PERMISSION_TYPE = 0x08;
const PERMISSION_KEY = 0x12;
const PERMISSION_END = 0x1a;

/** In one buffer of its size: a role may have thousands of permissions, and is written whole with each new one. */
export function encodeRole({ name, permissions }: Role): Uint8Array {
  let size = textSize(name);
  for (const permission of permissions) {
    const inner = permissionSize(permission);
    size += 1 + varintSize(inner) + inner;
  }
  const bytes = Buffer.allocUnsafe(size);
  let at = writeText(bytes, 0, NAME, name);
  for (const permission of permissions) {
    const { type, key, rangeEnd } = permission;
    bytes[at] = PERMISSION;
    at = writeVarint(bytes, at + 1, permissionSize(permission));
    if (type !== 0) {
      bytes[at] = PERMISSION_TYPE;
      at = writeVarint(bytes, at + 1, type);
    }
    if (key !== "") at = writeText(bytes, at, PERMISSION_KEY, key);
    if (rangeEnd !== "") at = writeText(bytes, at, PERMISSION_END, rangeEnd);
  }
  assert(at === size, "a role is as long as it was measured");
  return bytes;
}

function permissionSize({ type, key, rangeEnd }: Permission): number {
  const typeSize = type === 0 ? 0 : 1 + varintSize(type);
  return typeSize + (key === "" ? 0 : textSize(key)) + (rangeEnd === "" ? 0 : textSize(rangeEnd));
}

const textSize = (text: string): number => 1 + varintSize(text.length) + text.length;

/** A text in latin1: a byte for each letter. */
function writeText(bytes: Buffer, at: number, tag: number, text: string): number {
  bytes[at] = tag;
  const start = writeVarint(bytes, at + 1, text.length);
  return start + bytes.latin1Write(text, start);
}

export function decodeRole(row: Row): Role {
  return read("role", row, (reader) => {
    let name = "";
    const permissions: Permission[] = [];
    while (reader.left > 0) {
      const tag = reader.u8();
      if (tag === NAME) name = text(reader);
      else if (tag === PERMISSION) permissions.push(readPermission(new ByteReader(reader.take(reader.varint()))));
      else throw new RangeError(`has an unknown field ${tag}`);
    }
    if (name === "") throw new RangeError("has no name");
    return { name, permissions };
  });
}

function readPermission(reader: ByteReader): Permission {
  let permission: Permission = { type: 0, key: "", rangeEnd: "" };
  while (reader.left > 0) {
    const tag = reader.u8();
    if (tag === PERMISSION_TYPE) permission = { ...permission, type: reader.varint() };
    else if (tag === PERMISSION_KEY) permission = { ...permission, key: text(reader) };
    else if (tag === PERMISSION_END) permission = { ...permission, rangeEnd: text(reader) };
    else throw new RangeError(`has an unknown field ${tag} in a permission`);
  }
  return permission;
}

/** The state that the stored records are. Each must be found under its own name. */
export function authStateOf(stored: { meta: Row | null; users: NamedRows; roles: NamedRows }): AuthState {
  const meta = stored.meta === null ? AuthState.empty : decodeAuthMeta(stored.meta);
  return new AuthState({
    enabled: meta.enabled,
    revision: meta.revision,
    users: byName("user", stored.users, decodeUser),
    roles: byName("role", stored.roles, decodeRole),
  });
}

type NamedRows = readonly (Row & { readonly key: string })[];

function byName<T extends { name: string }>(what: string, rows: NamedRows, decode: (row: Row) => T): Map<string, T> {
  return new Map(
    rows.map((row) => {
      const value = decode(row);
      if (value.name !== row.key) throw new DbError("corrupt", `a stored ${what} is found under another's name`);
      return [row.key, value];
    }),
  );
}

const text = (reader: ByteReader): string => Buffer.from(reader.take(reader.varint())).latin1Slice();

function read<T>(what: string, { bytes, start, end }: Row, parse: (reader: ByteReader) => T): T {
  try {
    return parse(new ByteReader(bytes, start, end));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DbError("corrupt", `a stored ${what} ${error.message}`);
  }
}

class FieldWriter {
  readonly #parts: Buffer[] = [];

  number(tag: number, value: number): void {
    const bytes = Buffer.alloc(1 + varintSize(value));
    bytes[0] = tag;
    writeVarint(bytes, 1, value);
    this.#parts.push(bytes);
  }

  text(tag: number, value: string): void {
    this.bytes(tag, Buffer.from(value, "latin1"));
  }

  bytes(tag: number, value: Buffer): void {
    this.number(tag, value.length);
    this.#parts.push(value);
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}
