import type { DbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Database } from "../engine/engine.ts";
import type { Call } from "../transport/transport.ts";
import type { FairShare } from "./fair-share.ts";

/** What the services need to know of their surroundings. */
export interface EtcdSettings {
  /** A larger write gets "request is too large" (B1.1). */
  readonly requestBytesMax: number;
  /** Told to clients by MemberList; asked for at each call, as ports may be known late. */
  readonly clientUrls: () => readonly string[];
  readonly peerUrls: () => readonly string[];
  readonly timers: ServiceTimers;
  /** Told of what a stream's service threw that is no error of operation; its call is answered Internal. */
  readonly onBug: (error: unknown) => void;
  /** Shares the event loop among branches; left out: it is served to whoever comes. */
  readonly share?: FairShare | undefined;
  /** Told of each call that met a corrupt object. */
  readonly onCorrupt?: (error: DbError) => void;
}

/** The part of the runtime's timers that is needed here. */
export interface ServiceTimers {
  set(delayMs: number, fire: () => void, options?: { background?: boolean }): { cancel(): void };
  /** Calls `fire` once this turn of the event loop has handled the input at hand. */
  defer(fire: () => void): void;
}

/** One database, or the one that a call is for. A branch that must be opened first gives a promise. */
export type DatabaseSource = Database | ((call: Call) => MaybePromise<Database>);
export type DatabaseOf = (call: Call) => MaybePromise<Database>;

export const databaseOf = (source: DatabaseSource): DatabaseOf =>
  typeof source === "function" ? source : () => source;
