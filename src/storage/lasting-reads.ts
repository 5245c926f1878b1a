import { DbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { Memtable } from "./memtable.ts";
import type { Run } from "./run.ts";
import type { HistoryPage, OrderedVersions, VersionsRequest } from "./storage.ts";

/** A table that was to be read is not in the store. */
export class TableMissing extends DbError {
  readonly key: ObjectKey;

  constructor(key: ObjectKey) {
    super("corrupt", `object ${key}: is missing, though a checkpoint lists it`);
    this.key = key;
  }
}

/** The layers that a tree has now, for reads that began with earlier ones. */
export interface PresentLayers {
  layers(): { readonly memtables: readonly Memtable[]; readonly runs: readonly Run[] };
  /** Whether the table is in any of the present runs: then that it is missing is corruption. */
  lists(key: ObjectKey): boolean;
  /** The greatest compact revision by which anything was dropped: reads below it may miss versions. */
  readonly droppedThrough: number;
}

/** A read that meets it so often in one page does not keep up with merging. */
const RESUMES_MAX = 5;

/**
 * A read that outlives the tables that it began with: these were replaced by merging, no checkpoint that is retained
 * names them any more, and a collector has deleted them. It goes on in what replaced them, which gives the same for
 * every revision that was not compacted since; what was is told as etcd tells it.
 */
export function resumes(error: unknown, present: PresentLayers, attempt: number): error is TableMissing {
  return error instanceof TableMissing && attempt < RESUMES_MAX && !present.lists(error.key);
}

/** Throws `compacted` where a read at `revision` would miss what was dropped since it began. */
export function checkKept(revision: number, { droppedThrough }: PresentLayers): void {
  if (revision < droppedThrough) {
    throw new DbError("compacted", "compacted while it was read, and what it was read from is gone");
  }
}

export interface LastingVersionsOptions {
  readonly present: PresentLayers;
  readonly request: VersionsRequest;
  /** Reads of the present layers. */
  readonly open: (request: VersionsRequest) => OrderedVersions;
}

/** Versions in order, which outlive the tables that they are read from. */
export class LastingVersions implements OrderedVersions {
  readonly #options: LastingVersionsOptions;
  #reader: OrderedVersions;
  #through: number;
  #closed = false;

  constructor(options: LastingVersionsOptions) {
    this.#options = options;
    this.#reader = options.open(options.request);
    this.#through = options.request.after;
  }

  async next(limit: number, bytesMax: number): Promise<HistoryPage> {
    for (let attempt = 0; ; attempt++) {
      try {
        const page = await this.#reader.next(limit, bytesMax);
        this.#through = page.through;
        return page;
      } catch (error) {
        // It has closed itself.
        if (this.#closed || !resumes(error, this.#options.present, attempt)) throw error;
        this.#checkKept();
        this.#reader = this.#options.open({ ...this.#options.request, after: this.#through });
      }
    }
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.#reader.close();
  }

  /** All above `through` is wanted, or what a compaction leaves of it. */
  #checkKept(): void {
    const { request, present } = this.#options;
    checkKept(request.compacted === null ? this.#through + 1 : request.compacted.through, present);
  }
}
