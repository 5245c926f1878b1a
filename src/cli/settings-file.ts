import { readFileSync } from "node:fs";
import { parseDocument, visit } from "yaml";
import { fileTrouble } from "../base/errors.ts";
import type { SettingSources } from "../server/settings.ts";
import { UsageError } from "./errors.ts";

/** The configuration file's names and values. Loaded only where there is one: the parser takes long to load. */
export function readSettingsFile(path: string): SettingSources["file"] {
  let values: unknown;
  try {
    values = valuesOf(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UsageError(`--config-file: ${path}: ${fileTrouble(error)}`);
  }
  if (values === null) return { path, values: {} };
  if (typeof values !== "object" || Array.isArray(values)) {
    throw new UsageError(`--config-file: ${path}: expected names and values`);
  }
  return { path, values: flattened(values as Record<string, unknown>) };
}

/** Blocks of etcd's files, and the settings that their names stand for. Any other name is refused as unknown. */
const blocks: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "client-transport-security": {
    ...same(["cert-file", "key-file", "client-cert-file", "client-key-file", "client-cert-auth", "trusted-ca-file"]),
    "auto-tls": "auto-tls",
    "allowed-hostname": "client-cert-allowed-hostname",
  },
  "peer-transport-security": {
    "cert-file": "peer-cert-file",
    "key-file": "peer-key-file",
    "client-cert-file": "peer-client-cert-file",
    "client-key-file": "peer-client-key-file",
    "client-cert-auth": "peer-client-cert-auth",
    "trusted-ca-file": "peer-trusted-ca-file",
    "auto-tls": "peer-auto-tls",
    "allowed-cn": "peer-cert-allowed-cn",
    "allowed-hostname": "peer-cert-allowed-hostname",
    "skip-client-san-verification": "peer-skip-client-san-verification",
  },
  "socket-options": { "reuse-port": "socket-reuse-port", "reuse-address": "socket-reuse-address" },
};

function same(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, name]));
}

function flattened(values: Record<string, unknown>): Record<string, unknown> {
  const flat: Record<string, unknown> = Object.create(null);
  const add = (name: string, value: unknown, shown: string): void => {
    // A name without a value is as if it was not there.
    if (value === null || value === undefined) return;
    if (name in flat) throw new UsageError(`--config-file: ${shown} and ${name} are the same setting`);
    flat[name] = value;
  };
  for (const [name, value] of Object.entries(values)) {
    if (!(Object.hasOwn(blocks, name) && typeof value === "object" && value !== null)) add(name, value, name);
  }
  for (const [block, names] of Object.entries(blocks)) {
    const held = values[block];
    if (typeof held !== "object" || held === null) continue;
    for (const [name, value] of Object.entries(held)) {
      const shown = `${block}.${name}`;
      add(Object.hasOwn(names, name) ? names[name]! : shown, value, shown);
    }
  }
  return flat;
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
