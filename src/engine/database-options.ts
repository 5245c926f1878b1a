import type { DbError } from "../base/errors.ts";
import type { Revision } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Leadership } from "../leadership/leadership.ts";
import type { LogWriter } from "../log/log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { CacheStatus } from "../storage/cache-status.ts";
import type { Tree } from "../storage/storage.ts";
import type { AuthState } from "./auth/auth-state.ts";
import type { TokenProvider } from "./auth/tokens.ts";
import type { BranchSettingsState } from "./branches/branch-settings.ts";
import type { CommitListener } from "./changes.ts";
import type { DatabaseStatus, Identity, WatchSink, WatchStream } from "./engine.ts";
import type { Lessor } from "./lease/lessor.ts";
import type { MaintenanceState } from "./maintenance/branch-maintenance.ts";
import type { Committed } from "./sequencer.ts";
import type { EngineSettings } from "./settings.ts";

/** The watch half (watch/hub.ts). */
export interface WatchPort extends CommitListener {
  open(sink: WatchSink): WatchStream;
  fail(error: DbError): void;
  readonly stats: { readonly streams: number; readonly watchers: number };
  /** Keys written and deleted since this leadership began. */
  readonly changed: { readonly puts: number; readonly deletes: number };
}

/** What the storage beside the tree tells and does. */
export interface StoragePort {
  /**
   * Why nothing more can be taken now (too much in memory that could not be written as tables); null when all is well.
   */
  refusal(): DbError | null;
  /** What a write waits for before it is evaluated; null: for nothing. Throws when it cannot wait, either. */
  room(): Promise<void> | null;
  /** `liveBytes`: what this leadership has added to the bytes of live pairs, less what it took away. */
  stats(
    liveBytes: number,
  ): CacheStatus &
    Pick<
      DatabaseStatus,
      "bytes" | "bytesInUse" | "memtableBytes" | "tables" | "checkpointAgeMs" | "checkpointSlot" | "errors"
    >;
  /**
   * Done once what a compaction at this revision makes superfluous is gone (C3), as far as the storage promises that at
   * all.
   */
  compacted(revision: Revision): MaybePromise<void>;
  /** Merges all that can be merged, and lists it; `signal` gives up what is left of it. */
  defragment(signal: AbortSignal): Promise<void>;
}

export interface DatabaseOptions {
  readonly tree: Tree;
  readonly log: LogWriter;
  readonly leadership: Leadership;
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random" | "passwords">;
  readonly identity: Identity;
  readonly settings: EngineSettings;
  readonly storage: StoragePort;
  readonly lessor: Lessor;
  readonly auth: { readonly state: AuthState; readonly tokens: TokenProvider };
  readonly committed: Committed;
  /** Leases were left out when the branch was cut. */
  readonly leasesStripped: boolean;
  readonly branch: BranchSettingsState;
  readonly maintenance: MaintenanceState;
  readonly watch: WatchPort;
  /** Called once: the instance answers nothing any more, and must be opened anew. */
  readonly onEnd: (error: DbError) => void;
}
