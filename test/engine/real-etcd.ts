import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Compare, RequestOp, TxnRequest } from "../../src/engine/engine.ts";
import { freePort } from "../contract/free-port.ts";

/** Where etcd's programs are, if they are built (test/peers). */
const bin = join(process.env["PEERS"] ?? "/opt/peers", "bin", "etcd");
export const hasEtcd = existsSync(bin);

/** A real etcd of its own data and ports, spoken to through its JSON gateway. */
export class RealEtcd implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #folder: string;
  readonly #url: string;

  constructor(process: ChildProcess, folder: string, url: string) {
    this.#process = process;
    this.#folder = folder;
    this.#url = url;
  }

  static async start(): Promise<RealEtcd> {
    const folder = mkdtempSync(join(tmpdir(), "t4-etcd-"));
    const [client, peer] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
    const flags = ["--data-dir", join(folder, "data"), "--log-level", "error"];
    flags.push("--listen-client-urls", client, "--advertise-client-urls", client);
    flags.push(
      "--listen-peer-urls",
      peer,
      "--initial-advertise-peer-urls",
      peer,
      "--initial-cluster",
      `default=${peer}`,
    );
    const started = new RealEtcd(spawn(bin, flags, { stdio: "ignore" }), folder, client);
    await started.#ready();
    return started;
  }

  async #ready(): Promise<void> {
    for (let tries = 0; tries < 100; tries++) {
      if (this.#process.exitCode !== null) break;
      const health = await fetch(`${this.#url}/health`).catch(() => null);
      if (health?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error("etcd did not start");
  }

  /** The response, or the error's text. */
  async call(path: string, body: unknown): Promise<Json | string> {
    const response = await fetch(`${this.#url}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
    const answer = (await response.json()) as Json;
    return response.ok ? answer : String(answer["message"]);
  }

  async txn(request: TxnRequest): Promise<unknown> {
    const answer = await this.call("kv/txn", jsonTxn(request));
    return typeof answer === "string" ? (kinds[answer] ?? answer) : plainTxn(answer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    if (this.#process.exitCode === null && this.#process.kill("SIGKILL")) await ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

type Json = Record<string, unknown>;

const object = (of: Json, name: string): Json | undefined => of[name] as Json | undefined;
const list = (of: Json, name: string): Json[] => (of[name] ?? []) as Json[];
const number = (of: Json | undefined, name: string): number => Number(of?.[name] ?? 0);
const text = (of: Json, name: string): string => Buffer.from(String(of[name] ?? ""), "base64").toString("latin1");

const kinds: Record<string, string> = {
  "etcdserver: key is not provided": "emptyKey",
  "etcdserver: key not found": "keyNotFound",
  "etcdserver: value is provided": "valueProvided",
  "etcdserver: lease is provided": "leaseProvided",
  "etcdserver: too many operations in txn request": "tooManyOps",
  "etcdserver: duplicate key given in txn request": "duplicateKey",
  "etcdserver: invalid sort option": "invalidSortOption",
  "etcdserver: mvcc: required revision has been compacted": "compacted",
  "etcdserver: mvcc: required revision is a future revision": "futureRevision",
  "etcdserver: requested lease not found": "leaseNotFound",
};

const base64 = (text: string | Uint8Array): string =>
  (typeof text === "string" ? Buffer.from(text, "latin1") : Buffer.from(text)).toString("base64");

const jsonTxn = ({ compare, success, failure }: TxnRequest): unknown => ({
  compare: compare.map(jsonCompare),
  success: success.map(jsonOp),
  failure: failure.map(jsonOp),
});

const targets = { version: "version", create: "create_revision", mod: "mod_revision", lease: "lease" } as const;

function jsonCompare(compare: Compare): unknown {
  const result = { equal: 0, greater: 1, less: 2, notEqual: 3, unknown: 9 }[compare.result];
  const target = { version: 0, create: 1, mod: 2, value: 3, lease: 4, unknown: 9 }[compare.target];
  const place = { key: base64(compare.key), range_end: base64(compare.rangeEnd), result, target };
  if (compare.target === "unknown") return place;
  if (compare.target === "value") return { ...place, value: base64(compare.operand) };
  return { ...place, [targets[compare.target]]: String(compare.operand) };
}

function jsonOp(op: RequestOp): unknown {
  switch (op.kind) {
    case "put": {
      const { lease, prevKv, ignoreValue, ignoreLease } = op;
      const flags = { prev_kv: prevKv, ignore_value: ignoreValue, ignore_lease: ignoreLease };
      return { request_put: { key: base64(op.key), value: base64(op.value), lease: String(lease), ...flags } };
    }
    case "deleteRange":
      return {
        request_delete_range: { key: base64(op.key), range_end: base64(op.rangeEnd), prev_kv: op.prevKv },
      };
    case "range":
      return {
        request_range: {
          key: base64(op.key),
          range_end: base64(op.rangeEnd),
          limit: String(op.limit),
          revision: String(op.revision),
          sort_order: op.sortOrder,
          sort_target: op.sortTarget,
          count_only: op.countOnly,
          min_mod_revision: String(op.minModRevision),
          max_mod_revision: String(op.maxModRevision),
          min_create_revision: String(op.minCreateRevision),
          max_create_revision: String(op.maxCreateRevision),
        },
      };
    case "txn":
      return { request_txn: jsonTxn(op) };
    case "empty":
      return {};
  }
}

/** As `plain` in requests.ts makes it of the engine's answers. */
function plainTxn(answer: Json): unknown {
  const revision = number(object(answer, "header"), "revision");
  return { revision, succeeded: Boolean(answer["succeeded"]), responses: list(answer, "responses").map(plainOp) };
}

function plainOp(answer: Json): unknown {
  const [kind, found] = Object.entries(answer)[0]!;
  const body = found as Json;
  const revision = number(object(body, "header"), "revision");
  switch (kind) {
    case "response_put": {
      const prev = object(body, "prev_kv");
      return { revision, prev: prev ? shownJson(prev) : null };
    }
    case "response_delete_range":
      return { revision, deleted: number(body, "deleted"), prevs: list(body, "prev_kvs").map(shownJson) };
    case "response_range": {
      const rows = list(body, "kvs").map(shownJson);
      return { revision, more: Boolean(body["more"]), count: number(body, "count"), rows };
    }
    default:
      return plainTxn(body);
  }
}

function shownJson(pair: Json): string {
  const [create, mod, version] = ["create_revision", "mod_revision", "version"].map((name) => number(pair, name));
  const suffix = pair["lease"] ? `+${pair["lease"]}` : "";
  return `${text(pair, "key")}=${text(pair, "value")}@${create}/${mod}/${version}${suffix}`;
}
