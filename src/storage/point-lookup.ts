import { KeyHash } from "./bloom.ts";
import { type Position, SUB_NEWEST } from "./position.ts";

/** A key that is looked for, as of `main`: the position before the versions that are seen there, and the key's hash. */
export class PointLookup implements Position {
  readonly space: number;
  readonly key: string;
  readonly main: number;
  readonly sub = SUB_NEWEST;
  readonly hash: KeyHash;

  constructor(space: number, key: string, at: number) {
    this.space = space;
    this.key = key;
    this.main = at;
    this.hash = new KeyHash().of(space, key);
  }
}
