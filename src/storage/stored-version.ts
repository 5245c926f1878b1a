import type { Effect, Version } from "./storage.ts";

/** A version read from a table. */
export class StoredVersion implements Version {
  readonly key: string;
  readonly main: number;
  readonly sub: number;
  readonly tombstone: boolean;
  readonly effect: Effect;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;

  constructor(
    key: string,
    main: number,
    sub: number,
    tombstone: boolean,
    effect: Effect,
    bytes: Uint8Array,
    start: number,
    end: number,
  ) {
    this.key = key;
    this.main = main;
    this.sub = sub;
    this.tombstone = tombstone;
    this.effect = effect;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }
}
