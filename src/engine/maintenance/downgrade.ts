import { DbError } from "../../base/errors.ts";
import { etcdVersion } from "../../base/version.ts";
import { AT_HEAD, spaces, type Tree } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import { metaKeys } from "../meta.ts";
import { recordKinds } from "../record.ts";
import type { DowngradeRequest } from "./maintenance.ts";

const [MAJOR, MINOR] = etcdVersion.split(".").map(Number) as [number, number];
/** As etcd tells it: without the patch. It does not move here, as there is no older program that could take over. */
const CLUSTER_VERSION = `${MAJOR}.${MINOR}`;
const TARGET = `${MAJOR}.${MINOR - 1}.0`;

/**
 * A downgrade as etcd knows it (M7). Nodes here hold no data that an older program would read, so what it changes is
 * what leaves: while one is enabled snapshots are written for an etcd of the target version, and Status says so.
 */
export class Downgrade {
  #head: string | null;
  #committed: string | null;

  private constructor(target: string | null) {
    this.#head = target;
    this.#committed = target;
  }

  static async read(tree: Tree): Promise<Downgrade> {
    const stored = await tree.get(spaces.meta, metaKeys.downgrade, AT_HEAD);
    if (stored === null) return new Downgrade(null);
    const target = Buffer.from(stored.bytes.subarray(stored.start, stored.end)).toString("latin1");
    if (target !== TARGET) throw new DbError("corrupt", `the stored downgrade is to ${JSON.stringify(target)}`);
    return new Downgrade(target);
  }

  get committed(): string | null {
    return this.#committed;
  }

  /** As of the head. */
  get sequenced(): string | null {
    return this.#head;
  }

  evaluate(
    draft: Draft,
    { action, version }: DowngradeRequest,
  ): { revision: Draft["revision"]; clusterVersion: string } {
    const answer = { revision: draft.revision, clusterVersion: CLUSTER_VERSION };
    if (action === "cancel") {
      if (this.#head !== null) this.#set(draft, null);
      return answer;
    }
    if (targetOf(version) !== TARGET) throw new DbError("invalidDowngradeTarget");
    if (this.#head !== null) throw new DbError("downgradeInProcess");
    if (action === "enable") this.#set(draft, TARGET);
    return answer;
  }

  #set(draft: Draft, target: string | null): void {
    draft.kind = recordKinds.setting;
    const value = target === null ? null : Buffer.from(target, "latin1");
    draft.entry(spaces.meta, metaKeys.downgrade, value, target === null ? -1 : 1);
    this.#head = target;
    draft.afterCommit = () => {
      this.#committed = target;
    };
  }
}

/** "3.5", "3.5.9", "3.5.0-alpha" → "3.5.0". */
function targetOf(version: string): string {
  const match = /^(\d+)\.(\d+)(?:\.\d+(?:-[0-9A-Za-z.-]*)?(?:\+[0-9A-Za-z.-]*)?)?$/.exec(version);
  if (match === null) throw new DbError("downgradeVersionFormat");
  return `${Number(match[1])}.${Number(match[2])}.0`;
}
