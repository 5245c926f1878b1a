import { assert } from "../base/assert.ts";

const DEPTH_MAX = 32;

/**
 * JSON with the keys of every object in code unit order and no white space, so that equal values have equal bytes
 * whoever wrote them (own means *the same bytes*). Fields that are undefined are left out.
 */
export function canonicalJson(value: unknown, depth = 0): string {
  assert(depth <= DEPTH_MAX, `control objects nest at most ${DEPTH_MAX} deep`);
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") {
    assert(Number.isFinite(value), `a number in a control object is finite, not ${value}`);
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(",")}]`;
  assert(typeof value === "object" && isPlain(value), `a control object holds JSON, not a ${typeof value}`);
  const fields: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const field = (value as Record<string, unknown>)[key];
    if (field !== undefined) fields.push(`${JSON.stringify(key)}:${canonicalJson(field, depth + 1)}`);
  }
  return `{${fields.join(",")}}`;
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
