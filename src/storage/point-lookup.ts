import { KeyHash } from "./bloom.ts";
import { type Position, SUB_NEWEST } from "./position.ts";

/** A key that is looked for, as of `main`: the position before the versions that are seen there, and the key's hash. */
export class PointLookup implements Position {
  readonly space: number;
  readonly key: string;
  readonly main: number;
  readonly sub = SUB_NEWEST;
  #hash: KeyHash | null = null;

  constructor(space: number, key: string, at: number) {
    this.space = space;
    this.key = key;
    this.main = at;
  }

  /** Made when it is first asked for: of a key beyond all tables nobody does. */
  get hash(): KeyHash {
    return (this.#hash ??= new KeyHash().of(this.space, this.key));
  }
}
