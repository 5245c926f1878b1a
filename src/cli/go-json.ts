import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";

/**
 * A message as etcdctl's `-w json` prints it: Go's encoding/json over generated structs, not the protobuf JSON mapping.
 * Names as in the
 * .proto file, zero fields left out, 64-bit numbers as numbers, bytes in base64, enums as numbers.
 */
export function goJson(schema: DescMessage, message: Message): string {
  return ofMessage(reflect(schema, message));
}

/** What is not a message: fields in the order given; bigints as numbers, bytes in base64, `RawJson` as it is. */
export function goJsonObject(fields: Readonly<Record<string, JsonValue>>): string {
  return `{${Object.entries(fields)
    .map(([name, value]) => `${text(name)}:${ofValue(value)}`)
    .join(",")}}`;
}

/** JSON that is ready. */
export class RawJson {
  readonly json: string;
  constructor(json: string) {
    this.json = json;
  }
}

export type JsonValue = string | number | bigint | boolean | Uint8Array | RawJson | JsonValue[];

function ofValue(value: JsonValue): string {
  if (value instanceof RawJson) return value.json;
  if (Array.isArray(value)) return `[${value.map(ofValue).join(",")}]`;
  if (value instanceof Uint8Array) return `"${Buffer.from(value).toString("base64")}"`;
  return typeof value === "string" ? text(value) : String(value);
}

/** Go escapes these in strings, too. */
const ESCAPED: Record<string, string> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};
const text = (value: string): string => JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (c) => ESCAPED[c]!);

function ofMessage(message: ReflectMessage): string {
  const parts: string[] = [];
  for (const field of message.desc.fields) {
    if (!message.isSet(field)) continue;
    const value = ofField(message, field);
    if (value === null) continue;
    const name = text(field.name);
    parts.push(
      field.oneof === undefined ? `${name}:${value}` : `${text(oneofName(field.oneof.name))}:{${name}:${value}}`,
    );
  }
  return `{${parts.join(",")}}`;
}

/** A Go struct calls the oneof `response` Response. */
const oneofName = (name: string): string =>
  name.replace(/(^|_)([a-z])/g, (_match, _start, letter: string) => letter.toUpperCase());

function ofField(message: ReflectMessage, field: DescField): string | null {
  switch (field.fieldKind) {
    case "message":
      return ofMessage(message.get(field));
    case "list": {
      const items = [...message.get(field)].map((item) =>
        field.listKind === "message"
          ? ofMessage(item as ReflectMessage)
          : scalar(item, field.listKind === "scalar" ? field.scalar : null),
      );
      return items.length === 0 ? null : `[${items.join(",")}]`;
    }
    case "scalar":
      return scalar(message.get(field), field.scalar);
    case "enum":
      return String(message.get(field));
    case "map":
      throw new Error(`${field.name}: etcd's messages have no maps`);
  }
}

function scalar(value: unknown, type: ScalarType | null): string {
  if (type === ScalarType.BYTES) return `"${Buffer.from(value as Uint8Array).toString("base64")}"`;
  return typeof value === "string" ? text(value) : String(value);
}
