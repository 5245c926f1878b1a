import { DbError, isDbError, messageOf } from "../base/errors.ts";
import type { BranchId, ObjectKey } from "../base/ids.ts";
import { proveRetained } from "../engine/branches/checkpoint-log.ts";
import { type Origin, readOrigin } from "../leadership/origin.ts";
import { readLog } from "../log/reader.ts";
import { checkpointKey, originKey, parseKey, prefixes } from "../objects/keys.ts";
import type { Checkpoint, RetainedCheckpoint } from "../storage/checkpoint.ts";
import { decodeCheckpoint } from "../storage/checkpoint-codec.ts";
import { isSignedBy, signedPart } from "../storage/checkpoint-signature.ts";
import { newestCheckpoint } from "../storage/checkpoint-store.ts";
import { provesLeaf } from "../storage/mountain-range.ts";
import { listObjects } from "./list-objects.ts";
import type { OfflineRepository } from "./open-offline.ts";

/**
 * Proves where a branch's state comes from: from its tip back to its origin, and through that to its ancestors.
 *
 *   log behind the tip ─► tip ─► retained checkpoints ─► first one ─► origin ─► the parent's checkpoint ─► …
 *
 * 1. Each segment behind the tip names the hash of the one before it, the first the one that the tip names.
 * 2. The tip's range is over the ids of all checkpoints before it; each retained one is proved to be in it, at its
 *    place, and so is the first. So one that was changed, dropped, or put elsewhere is found, and named.
 * 3. What was thinned out between is told as such: the range still vouches for what is on both sides of it.
 * 4. With trusted keys, the tip must be signed by one of them: it vouches for all that is proved from it. The
 *    log behind the tip is not signed until the next checkpoint. That a newer tip was taken away cannot be seen.
 */
export interface TraceOptions extends OfflineRepository {
  /** Public keys, 64 hex digits each; none: signatures are told, not asked for. */
  readonly trusted: readonly string[];
}

export interface BranchTrace {
  readonly branch: BranchId;
  readonly tip: string | null;
  readonly tipRevision: number;
  /** Of the tip, and whether each fits. */
  readonly signatures: readonly { readonly publicKey: string; readonly fits: boolean; readonly trusted: boolean }[];
  /** Proved to be of the tip's history, the oldest first. */
  readonly proved: readonly { readonly object: ObjectKey; readonly leaf: number; readonly revision: number }[];
  /** Numbers of checkpoints that retention has let go of, first to last. */
  readonly thinned: readonly { readonly from: number; readonly to: number }[];
  /** Of the log behind the tip. */
  readonly segments: number;
  readonly revision: number;
  readonly parent: BranchId | null;
  readonly forkRevision: number;
  /** How the origin hangs together with the parent. */
  readonly link: string | null;
  readonly faults: readonly { readonly object: string; readonly what: string }[];
}

const ANCESTORS_MAX = 10_000;

/** The branch first, then its ancestors as far as they exist. */
export async function traceBranch(options: TraceOptions, branch: BranchId): Promise<BranchTrace[]> {
  const traces: BranchTrace[] = [];
  for (let next: BranchId | null = branch; next !== null && traces.length < ANCESTORS_MAX; ) {
    const trace: BranchTrace = await new Trace(options, next).run();
    traces.push(trace);
    next = trace.parent !== null && (await exists(options, trace.parent)) ? trace.parent : null;
  }
  return traces;
}

const exists = async ({ store, request }: OfflineRepository, branch: BranchId): Promise<boolean> =>
  (await store.get(originKey(branch), request)) !== null;

class Trace {
  readonly #options: TraceOptions;
  readonly #branch: BranchId;
  readonly #faults: { object: string; what: string }[] = [];
  readonly #proved: { object: ObjectKey; leaf: number; revision: number }[] = [];

  constructor(options: TraceOptions, branch: BranchId) {
    this.#options = options;
    this.#branch = branch;
  }

  async run(): Promise<BranchTrace> {
    const { store, request } = this.#options;
    const branch = this.#branch;
    const origin = await readOrigin(store, branch, request);
    const tipKey = await this.#tipKey();
    const tip = tipKey === null ? null : await this.#read(tipKey);
    const signatures = tip === null ? [] : this.#signatures(tipKey!, tip);
    if (tip !== null) for (const each of tip.checkpoint.retained) await this.#prove(tip.checkpoint, each);
    const link = origin.parent === null ? null : await this.#link(origin, tip?.checkpoint ?? null);
    const log = await this.#log(tip?.checkpoint.point.position ?? origin.position);
    return {
      branch,
      tip: tip?.checkpoint.id ?? null,
      tipRevision: tip?.checkpoint.point.position.revision ?? origin.position.revision,
      signatures,
      proved: this.#proved,
      thinned:
        tip === null ? [] : thinnedIn(tip.checkpoint, { proved: this.#proved, atOrigin: origin.checkpoint !== null }),
      ...log,
      parent: origin.parent,
      forkRevision: origin.parent === null ? 0 : origin.position.revision,
      link,
      faults: this.#faults,
    };
  }

  async #tipKey(): Promise<ObjectKey | null> {
    const { store, request } = this.#options;
    let newest: ObjectKey | null = null;
    for await (const { key } of listObjects(store, prefixes.checkpoints(this.#branch), request)) {
      if (parseKey(key)?.kind === "checkpoint") newest = key;
      else this.#fault(key, "is no checkpoint");
    }
    return newest;
  }

  #fault(object: string, what: string): void {
    this.#faults.push({ object, what });
  }

  /** Null, and a fault, for what cannot be read. */
  async #read(key: ObjectKey): Promise<{ checkpoint: Checkpoint; bytes: Buffer } | null> {
    const { store, request } = this.#options;
    const object = await store.get(key, request);
    if (object === null) {
      this.#fault(key, "is missing");
      return null;
    }
    try {
      return { checkpoint: decodeCheckpoint(key, object.body), bytes: object.body };
    } catch (error) {
      if (!isDbError(error, "corrupt")) throw error;
      this.#fault(key, error.message.replace(`object ${key}: `, ""));
      return null;
    }
  }

  #signatures(key: ObjectKey, { checkpoint, bytes }: { checkpoint: Checkpoint; bytes: Buffer }) {
    const { trusted } = this.#options;
    const signatures = checkpoint.signatures ?? [];
    const signed = signedPart(bytes, signatures);
    const found = signatures.map((each) => {
      const { publicKey } = each;
      return { publicKey, fits: isSignedBy(each, signed), trusted: trusted.includes(publicKey) };
    });
    for (const { publicKey, fits } of found) {
      if (!fits) this.#fault(key, `the signature by key ${publicKey.slice(0, 16)}… is not of these bytes`);
    }
    if (trusted.length > 0 && !found.some((each) => each.fits && each.trusted)) {
      const by = found.length === 0 ? "not signed" : `signed by ${found.map(({ publicKey }) => publicKey).join(", ")}`;
      this.#fault(key, `is ${by}, expected by a trusted key`);
    }
    return found;
  }

  async #prove(tip: Checkpoint, listed: RetainedCheckpoint): Promise<void> {
    const object = checkpointKey(listed.branch, listed.nextSlot, listed.n);
    const read = await this.#read(object);
    if (read === null) return;
    try {
      proveRetained(tip, listed, read.checkpoint);
      this.#proved.push({ object, leaf: listed.proof.leaf, revision: listed.revision });
    } catch (error) {
      if (!isDbError(error, "corrupt")) throw error;
      this.#fault(object, error.message.replace(`object ${object}: `, ""));
    }
  }

  /** From the tip's first checkpoint through the origin to the parent's history. */
  async #link(origin: Origin, tip: Checkpoint | null): Promise<string> {
    const named = origin.checkpoint;
    const own = originKey(this.#branch);
    if (named === null) return "cut from before the parent's first checkpoint: its log alone led there";
    if (tip?.first !== undefined && tip.first.id !== named.sha256) {
      this.#fault(own, `begins with checkpoint ${named.sha256}, the tip's history with ${tip.first.id}`);
    }
    const first =
      tip === null ? "" : tip.first === undefined ? " (the tip is too old to prove it)" : ", the tip's first";
    const name = `${named.sha256.slice(0, 12)}${first}`;
    const key = checkpointKey(named.branch, named.nextSlot, named.n);
    const { store, request } = this.#options;
    const object = await store.get(key, request);
    if (object === null) return `began with ${name}; collected by rule since no branch needs it any more`;
    const read = await this.#read(key);
    if (read === null) return `begins with ${name}, which is damaged`;
    if (read.checkpoint.id !== named.sha256) {
      this.#fault(key, `has id ${read.checkpoint.id}, ${own} names ${named.sha256}`);
      return `begins with ${name}, which is another one now`;
    }
    return `begins with ${name}: ${await this.#inParent(read.checkpoint)}`;
  }

  async #inParent(start: Checkpoint): Promise<string> {
    const { store, request } = this.#options;
    const tip = await newestCheckpoint(store, start.branch, request).catch((error: unknown) => {
      if (isDbError(error, "corrupt")) return null;
      throw error;
    });
    if (tip === null) return "the branch that it is of is deleted, or damaged";
    if (tip.id === start.id) return "the tip of the branch that it is of";
    const listed = tip.retained.find(({ id }) => id === start.id);
    if (listed !== undefined && provesLeaf(tip.range, start.id, listed.proof)) {
      return `number ${listed.proof.leaf} of the history of the branch that it is of, proved from its tip`;
    }
    return "thinned out of the history of the branch that it is of, which keeps no proof of it";
  }

  async #log(from: Checkpoint["point"]["position"]): Promise<{ segments: number; revision: number }> {
    const { store, request } = this.#options;
    let segments = 0;
    try {
      const read = await readLog({
        store,
        branch: this.#branch,
        from,
        requestTimeoutMs: request.timeoutMs,
        ...(request.signal && { signal: request.signal }),
        newestCheckpointSlot: async () => from.nextSlot,
        onSegment: () => {
          segments++;
        },
      });
      if (read.kind === "broken") throw read.error;
      return { segments, revision: read.position.revision };
    } catch (error) {
      if (!(error instanceof DbError) || error.kind !== "corrupt") throw error;
      const [, object = this.#branch, what = messageOf(error)] = /^object (\S+?):? (.*)$/s.exec(error.message) ?? [];
      this.#fault(object, what);
      return { segments, revision: from.revision };
    }
  }
}

/** Runs of numbers before the tip that nothing retained has; `atOrigin`: number 0 is the origin's, told apart. */
function thinnedIn(
  tip: Checkpoint,
  { proved, atOrigin }: { proved: readonly { leaf: number }[]; atOrigin: boolean },
): { from: number; to: number }[] {
  const gaps: { from: number; to: number }[] = [];
  let next = atOrigin ? 1 : 0;
  for (const leaf of [...proved.map((each) => each.leaf), tip.range.leaves]) {
    if (leaf > next) gaps.push({ from: next, to: leaf - 1 });
    next = leaf + 1;
  }
  return gaps;
}
