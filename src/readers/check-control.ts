import { type BranchId, branchId, type ObjectKey } from "../base/ids.ts";
import { decodeCollection, decodeCollectionDone } from "../collector/collection.ts";
import { decodeBranchName } from "../leadership/branch-name.ts";
import { sessionId } from "../leadership/identity.ts";
import { decodeLeaderRecord, type LeaderRecord } from "../leadership/leader-record.ts";
import { decodeOrigin, type Origin } from "../leadership/origin.ts";
import { decodeRepository, MAIN, type Repository } from "../leadership/repository.ts";
import { decodeSession, type SessionBody } from "../leadership/session-object.ts";
import { leaderKey, nameKey, originKey, parseKey, prefixes, repositoryKey } from "../objects/keys.ts";
import type { ObjectStore, RequestOptions } from "../objects/objects.ts";
import { decodePassed } from "../objects/probe.ts";
import { Register } from "../objects/register.ts";
import type { RetryRuntime } from "../objects/retry.ts";
import type { Findings } from "./faults.ts";
import { listObjects } from "./list-objects.ts";

/** The small objects that say what a repository is: each is read, decoded, and held against what it names. */
export class ControlCheck {
  objects = 0;
  bytes = 0;
  readonly #store: ObjectStore;
  readonly #runtime: RetryRuntime;
  readonly #request: RequestOptions;
  readonly #findings: Findings;

  constructor(
    { store, runtime, request }: { store: ObjectStore; runtime: RetryRuntime; request: RequestOptions },
    findings: Findings,
  ) {
    this.#store = store;
    this.#runtime = runtime;
    this.#request = request;
    this.#findings = findings;
  }

  /** Null where it is missing or damaged. */
  async repository(): Promise<Repository | null> {
    const object = await this.#store.get(repositoryKey, this.#request);
    this.#count(object?.body.length ?? 0);
    if (object === null) {
      this.#findings.fault(repositoryKey, "is missing");
      return null;
    }
    return this.#decoded(repositoryKey, () => decodeRepository(object.body));
  }

  /** What each branch is called by. */
  async names(): Promise<Map<BranchId, string[]>> {
    const names = new Map<BranchId, string[]>();
    let main = false;
    for await (const { key, bytes } of listObjects(this.#store, prefixes.names, this.#request)) {
      const parsed = parseKey(key);
      if (parsed?.kind !== "name") {
        this.#findings.fault(key, "is not named as a branch's name is");
        continue;
      }
      main ||= parsed.name === MAIN;
      const name = await this.#register({ key, bytes }, decodeBranchName);
      if (name === null || name.tombstone) continue;
      names.set(name.branch, [...(names.get(name.branch) ?? []), parsed.name]);
    }
    if (!main && (await this.#hasBranches())) this.#findings.fault(nameKey(MAIN), "is missing");
    return names;
  }

  /** An import that failed leaves a repository without any: who opens it next makes main. */
  async #hasBranches(): Promise<boolean> {
    for await (const { key } of listObjects(this.#store, prefixes.branches, this.#request))
      if (parseKey(key)?.kind === "origin") return true;
    return false;
  }

  async origin(branch: BranchId): Promise<Origin | null> {
    const key = originKey(branch);
    const object = await this.#store.get(key, this.#request);
    this.#count(object?.body.length ?? 0);
    if (object === null) {
      this.#findings.fault(key, "is missing");
      return null;
    }
    return this.#decoded(key, () => decodeOrigin(branch, object.body));
  }

  /** Null where nobody ever led the branch, or the record is damaged. */
  async leader(branch: BranchId): Promise<LeaderRecord | null | "damaged"> {
    const key = leaderKey(branch);
    const object = await this.#store.get(key, this.#request);
    if (object === null) return null;
    return (await this.#register({ key, bytes: object.body.length }, decodeLeaderRecord)) ?? "damaged";
  }

  /** Sessions that are over and that no leader names are litter. */
  async sessions(repository: Repository | null, named: ReadonlySet<string>): Promise<void> {
    for await (const { key, bytes } of listObjects(this.#store, prefixes.sessions, this.#request)) {
      const parsed = parseKey(key);
      if (parsed?.kind !== "session") {
        this.#findings.fault(key, "is not named as a session is");
        continue;
      }
      const session: SessionBody | null = await this.#register({ key, bytes }, decodeSession);
      if (session === null) continue;
      const id = repository === null ? parsed.id : sessionId(repository.id, session.node, session.number);
      if (id !== parsed.id) this.#findings.fault(key, `holds session ${id}`);
      if (session.state !== "live" && !named.has(parsed.id)) {
        this.#findings.unnamed(key, bytes, `is over (${session.state}), and no branch names it`);
      }
    }
  }

  /** What collections list is their creators' business. */
  async collections(): Promise<void> {
    for await (const { key, bytes } of listObjects(this.#store, prefixes.collections, this.#request)) {
      const parsed = parseKey(key);
      if (parsed?.kind !== "collection" && parsed?.kind !== "collectionDone") {
        this.#findings.fault(key, "is not named as a collection is");
        continue;
      }
      const object = await this.#store.get(key, this.#request);
      this.#count(bytes);
      if (object === null) continue;
      const decode = parsed.kind === "collection" ? decodeCollection : decodeCollectionDone;
      this.#decoded<unknown>(key, () => decode(parsed.n, object.body));
    }
  }

  async probes(): Promise<void> {
    for await (const { key, bytes } of listObjects(this.#store, prefixes.probes, this.#request)) {
      const parsed = parseKey(key);
      if (parsed?.kind === "probePassed") await this.#register({ key, bytes }, decodePassed);
      else if (parsed?.kind === "probe") this.#findings.unnamed(key, bytes, "is left over from a test of the store");
      else this.#findings.fault(key, "is not named as one of a test of the store is");
    }
  }

  #count(bytes: number): void {
    this.objects++;
    this.bytes += bytes;
  }

  async #register<Body>(
    { key, bytes }: { key: ObjectKey; bytes: number },
    decode: (json: unknown) => Body,
  ): Promise<Body | null> {
    this.#count(bytes);
    try {
      const state = await new Register(this.#store, key, { runtime: this.#runtime, decode }).read(this.#request);
      return state?.body ?? null;
    } catch (error) {
      this.#findings.thrown(key, error);
      return null;
    }
  }

  #decoded<T>(key: string, decode: () => T): T | null {
    try {
      return decode();
    } catch (error) {
      this.#findings.thrown(key, error);
      return null;
    }
  }
}

/** The branch of a folder `branch/ID/`; null for one that is none. */
export function branchOfFolder(name: string): BranchId | null {
  const match = /^branch\/([0-9a-f]{32})\/$/.exec(name);
  return match === null ? null : branchId(match[1]!);
}
