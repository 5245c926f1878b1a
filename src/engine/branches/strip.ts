import { assert } from "../../base/assert.ts";
import type { Revision } from "../../base/ids.ts";
import type { OriginStrip } from "../../leadership/origin.ts";
import type { LogWriter } from "../../log/log.ts";
import { AT_HEAD, type KEYS, type Space, spaces, type Tree } from "../../storage/storage.ts";
import { AUTH_META_KEY } from "../auth/auth-records.ts";
import { Draft } from "../draft.ts";
import { metaKeys, readCompactRevision, STRIPPED_AUTH, STRIPPED_LEASES } from "../meta.ts";
import { recordKinds } from "../record.ts";

/**
 * Leaves out of a branch what it was cut without (--strip-auth, --strip-leases): its first leader logs the deletions
 * before it answers anybody, as records without a revision.
 *
 * 1. The last of them says that it is done. A leader that finds it not there goes on where another has stopped: what is
 *    deleted is not met again.
 * 2. A branch that is cut off this one before it has a checkpoint inherits the order, and sees by the same mark in what
 *    it replays whether it has been carried out.
 *
 * Keys stay as they are: those of a lease still name it, and hang on nothing.
 */
export async function strip(options: {
  tree: Tree;
  log: LogWriter;
  strips: readonly OriginStrip[];
  revision: Revision;
  signal: AbortSignal;
}): Promise<void> {
  const { tree, strips } = options;
  for (const each of strips) {
    const mark = metaKeys.stripped(each.by);
    if ((await tree.get(spaces.meta, mark, AT_HEAD)) === null) await new Stripping(options, each).run();
  }
}

type OtherSpace = Exclude<Space, typeof KEYS>;

/** Entries that one record deletes at most. */
const ENTRIES_MAX = 1000;

class Stripping {
  readonly #options: Parameters<typeof strip>[0];
  readonly #strip: OriginStrip;
  readonly #draft: Draft;

  constructor(options: Parameters<typeof strip>[0], each: OriginStrip) {
    this.#options = options;
    this.#strip = each;
    this.#draft = new Draft(options.tree);
  }

  async run(): Promise<void> {
    const { by, auth, leases } = this.#strip;
    const { tree } = this.#options;
    if (leases) await this.#empty(spaces.leaseKeys);
    if (leases) await this.#empty(spaces.leases);
    if (auth) await this.#empty(spaces.users);
    if (auth) await this.#empty(spaces.roles);
    const isOn = auth && (await tree.get(spaces.meta, AUTH_META_KEY, AT_HEAD)) !== null;
    await this.#log((draft) => {
      if (isOn) draft.entry(spaces.meta, AUTH_META_KEY, null, -1);
      const flags = (auth ? STRIPPED_AUTH : 0) | (leases ? STRIPPED_LEASES : 0);
      draft.entry(spaces.meta, metaKeys.stripped(by), Uint8Array.of(flags), 1);
    });
  }

  async #empty(space: OtherSpace): Promise<void> {
    const { tree } = this.#options;
    for (;;) {
      const page = await tree.scan(space, { from: "", to: null }, AT_HEAD, { limit: ENTRIES_MAX });
      if (page.length === 0) return;
      await this.#log((draft) => {
        for (const { key } of page) draft.entry(space, key, null, -1);
      });
    }
  }

  /** One record, in the store when this resolves: dying anywhere leaves some deleted, and no mark. */
  async #log(fill: (draft: Draft) => void): Promise<void> {
    const { tree, log, revision, signal } = this.#options;
    const draft = this.#draft;
    draft.begin({ revision, compactRevision: await readCompactRevision(tree), record: log.head }, null);
    draft.kind = recordKinds.strip;
    fill(draft);
    const { entries } = draft;
    const number = log.append({ payload: draft.finish(), revision });
    assert(number === draft.record, "the log numbers records densely");
    for (const entry of entries) tree.apply(entry);
    await log.drain(signal);
  }
}
