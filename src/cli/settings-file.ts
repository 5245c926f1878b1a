import { readFileSync } from "node:fs";
import { parse as parseYaml } from "yaml";
import { messageOf } from "../base/errors.ts";
import type { SettingSources } from "../server/settings.ts";
import { UsageError } from "./errors.ts";

/** The configuration file's names and values. Loaded only where there is one: the parser takes long to load. */
export function readSettingsFile(path: string): SettingSources["file"] {
  let values: unknown;
  try {
    values = parseYaml(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UsageError(`--config-file: ${path}: ${messageOf(error).split("\n")[0]}`);
  }
  if (values === null) return { path, values: {} };
  if (typeof values !== "object" || Array.isArray(values)) {
    throw new UsageError(`--config-file: ${path}: expected names and values`);
  }
  return { path, values: values as Record<string, unknown> };
}
