import { bytesText } from "./progress.ts";

/** Characters of a value that are shown. */
const SHOWN_MAX = 120;
const PATHS_MAX = 20;

const isText = (bytes: Uint8Array): boolean => {
  const text = new TextDecoder().decode(bytes);
  return !/[\p{Cc}\ufffd]/u.test(text.replace(/[\t\n\r\f]/g, ""));
};

/** Text as it is, in one line; else hexadecimal digits. What is long is cut, and its size told. */
export function valueText(bytes: Uint8Array): string {
  if (!isText(bytes)) {
    const shown = Buffer.from(bytes.subarray(0, SHOWN_MAX / 4)).toString("hex");
    return bytes.length > SHOWN_MAX / 4 ? `0x${shown}… (${bytesText(bytes.length)})` : `0x${shown}`;
  }
  const text = Buffer.from(bytes).toString("utf8");
  const line = JSON.stringify(text);
  return line.length <= SHOWN_MAX ? line : `${line.slice(0, SHOWN_MAX)}…" (${bytesText(bytes.length)})`;
}

/** A key in one line, whole, however long: cut, it could be taken for another one. */
export const keyText = (key: Uint8Array): string =>
  isText(key)
    ? JSON.stringify(Buffer.from(key).toString("utf8")).slice(1, -1)
    : `0x${Buffer.from(key).toString("hex")}`;

/** What differs between two values, a line each: of JSON by its paths, else the one and the other. */
export function changeLines(before: Uint8Array, after: Uint8Array): string[] {
  const [old, now] = [jsonOf(before), jsonOf(after)];
  if (old === undefined || now === undefined) return [`- ${valueText(before)}`, `+ ${valueText(after)}`];
  const lines = [...jsonChanges(old, now, "")];
  if (lines.length === 0) return ["(the same JSON, written otherwise)"];
  if (lines.length <= PATHS_MAX) return lines;
  return [...lines.slice(0, PATHS_MAX), `… and ${lines.length - PATHS_MAX} more`];
}

/** Undefined for what is no object or list. */
function jsonOf(bytes: Uint8Array): object | undefined {
  const first = bytes[0];
  if (first !== 0x7b && first !== 0x5b) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function* jsonChanges(old: unknown, now: unknown, path: string): Generator<string> {
  if (isTree(old) && isTree(now) && Array.isArray(old) === Array.isArray(now)) {
    for (const name of new Set([...Object.keys(old), ...Object.keys(now)])) {
      const at = Array.isArray(old) ? `${path}[${name}]` : path === "" ? name : `${path}.${name}`;
      if (!Object.hasOwn(old, name)) yield `${at}: + ${short(now[name])}`;
      else if (!Object.hasOwn(now, name)) yield `${at}: - ${short(old[name])}`;
      else yield* jsonChanges(old[name], now[name], at);
    }
  } else if (JSON.stringify(old) !== JSON.stringify(now)) yield `${path}: ${short(old)} → ${short(now)}`;
}

const isTree = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}…`;
}
