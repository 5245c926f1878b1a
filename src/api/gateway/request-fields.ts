import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { ExactInteger, fieldNamed, JsonTextError } from "./json-text.ts";

/**
 * Numbers and bytes of a request's JSON, taken as etcd's gateway takes them and written as the library reads them,
 * which by itself takes more: " 1" and "0x10" as numbers, base64 with blanks or with padding in its middle. What else
 * is wrong the library says. Changes `json`.
 */
export function normalizeFields(message: DescMessage, json: unknown): void {
  if (typeof json !== "object" || json === null || Array.isArray(json) || json instanceof ExactInteger) return;
  const members = json as Record<string, unknown>;
  for (const [name, value] of Object.entries(members)) {
    const field = fieldNamed(message, name);
    if (field === undefined) continue;
    members[name] = Array.isArray(value) ? value.map((one) => normalized(field, one)) : normalized(field, value);
  }
}

function normalized(field: DescField, value: unknown): unknown {
  if (field.message !== undefined) {
    normalizeFields(field.message, value);
    return value instanceof ExactInteger ? invalid(field, value.text) : value;
  }
  if (isNumber(field.scalar)) {
    const text = value instanceof ExactInteger ? value.text : value;
    return typeof text === "string" ? (wholeNumber(text) ?? invalid(field, text)) : value;
  }
  if (value instanceof ExactInteger) return invalid(field, value.text);
  if (field.scalar === ScalarType.BYTES && typeof value === "string")
    return standardBase64(value) ?? invalid(field, value);
  return value;
}

function invalid(field: DescField, value: string): never {
  throw new JsonTextError(`proto: invalid value for field ${field.name}: ${JSON.stringify(value)}`);
}

const numbers: ReadonlySet<ScalarType | undefined> = new Set([
  ...[ScalarType.INT64, ScalarType.UINT64, ScalarType.INT32, ScalarType.UINT32],
  ...[ScalarType.SINT64, ScalarType.SINT32, ScalarType.FIXED64, ScalarType.FIXED32],
]);

const isNumber = (type: ScalarType | undefined): boolean => numbers.has(type);

/**
 * A number in quotes ends where none can go on, and what follows is not read, as Go's parser has it: "1/2" is 1. White
 * space may not be around it.
 */
const NUMBER = /^(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d{1,4}))?(?![-+._a-zA-Z0-9])/;
const SPACE_BEHIND = /[\s\x85]$/;
/** Of a 64-bit number. */
const DIGITS_MAX = 20;

/** "1.0" and "1e2" are whole numbers, too: as digits alone; null: it is none, or larger than any. */
function wholeNumber(text: string): string | null {
  const match = NUMBER.exec(text);
  if (match === null || SPACE_BEHIND.test(text.slice(-1))) return null;
  const [, sign = "", whole = "", fraction = "", exponent = "0"] = match;
  const digits = (whole + fraction).replace(/^0+/, "");
  if (digits === "") return "0";
  const shift = Number(exponent) - fraction.length;
  if (digits.length + shift > DIGITS_MAX) return null;
  if (shift >= 0) return sign + digits + "0".repeat(shift);
  const cut = digits.length + shift;
  return cut > 0 && /^0+$/.test(digits.slice(cut)) ? sign + digits.slice(0, cut) : null;
}

/**
 * In either alphabet, not mixed; padded, or not where its length says so. Line breaks are passed over, as Go's decoder
 * does. Null: it is none.
 */
function standardBase64(text: string): string | null {
  const isPadded = text.length % 4 === 0;
  const standard = /[-_]/.test(text) ? urlToStandard(text) : text;
  const lines = standard?.replace(/[\r\n]/g, "") ?? null;
  if (lines === null) return null;
  if (isPadded) return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(lines) ? lines : null;
  return /^[A-Za-z0-9+/]*$/.test(lines) && lines.length % 4 !== 1 ? lines : null;
}

const urlToStandard = (text: string): string | null =>
  /[+/]/.test(text) ? null : text.replaceAll("-", "+").replaceAll("_", "/");
