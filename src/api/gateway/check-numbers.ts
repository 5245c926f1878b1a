import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { JsonTextError } from "./json-text.ts";

/**
 * A 64-bit number may be written as text, and the library takes whatever text the language makes a number of: " 1",
 * "0x10", "". Here it must be a whole number as JSON writes it (etcd also takes an exponent). What else is wrong the
 * library says.
 */
export function checkNumbers(message: DescMessage, json: unknown): void {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return;
  for (const [name, value] of Object.entries(json)) {
    const field = message.fields.find((one) => one.name === name || one.jsonName === name);
    if (field === undefined) continue;
    for (const one of Array.isArray(value) ? (value as unknown[]) : [value]) checkValue(field, one);
  }
}

const NUMBER = /^-?(0|[1-9]\d*)$/;

function checkValue(field: DescField, value: unknown): void {
  if (field.message !== undefined) checkNumbers(field.message, value);
  else if (typeof value === "string" && isNumber(field.scalar) && !NUMBER.test(value)) {
    throw new JsonTextError(`proto: invalid value for field ${field.name}: ${JSON.stringify(value)}`);
  }
}

const numbers: ReadonlySet<ScalarType | undefined> = new Set([
  ...[ScalarType.INT64, ScalarType.UINT64, ScalarType.INT32, ScalarType.UINT32],
  ...[ScalarType.SINT64, ScalarType.SINT32, ScalarType.FIXED64, ScalarType.FIXED32],
]);

const isNumber = (type: ScalarType | undefined): boolean => numbers.has(type);
