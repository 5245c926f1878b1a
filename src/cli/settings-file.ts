import { readFileSync } from "node:fs";
import { parseDocument, visit } from "yaml";
import { messageOf } from "../base/errors.ts";
import type { SettingSources } from "../server/settings.ts";
import { UsageError } from "./errors.ts";

/** The configuration file's names and values. Loaded only where there is one: the parser takes long to load. */
export function readSettingsFile(path: string): SettingSources["file"] {
  let values: unknown;
  try {
    values = valuesOf(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UsageError(`--config-file: ${path}: ${messageOf(error).split("\n")[0]}`);
  }
  if (values === null) return { path, values: {} };
  if (typeof values !== "object" || Array.isArray(values)) {
    throw new UsageError(`--config-file: ${path}: expected names and values`);
  }
  return { path, values: values as Record<string, unknown> };
}

/**
 * Numbers as they are written: what is meant as a text may look like one (a name of digits, or 1e3), and would be
 * another one.
 */
function valuesOf(text: string): unknown {
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error !== undefined) throw error;
  visit(document, {
    Scalar(_key, node) {
      if (typeof node.value === "number" && node.source !== undefined) node.value = node.source;
    },
  });
  return document.toJS();
}
