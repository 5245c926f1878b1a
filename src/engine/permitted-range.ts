import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Access } from "./access.ts";
import type { AuthState } from "./auth/auth-state.ts";
import type { RangeCursor, Row } from "./engine.ts";

/** A caller's range: ends, by the error of an old auth revision, when permissions have changed since it was opened. */
export class PermittedRange implements RangeCursor {
  readonly #rows: RangeCursor;
  readonly #access: Access;
  readonly #permittedBy: AuthState;

  constructor(rows: RangeCursor, access: Access, permittedBy: AuthState) {
    this.#rows = rows;
    this.#access = access;
    this.#permittedBy = permittedBy;
  }

  get revision(): RangeCursor["revision"] {
    return this.#rows.revision;
  }

  get at(): number {
    return this.#rows.at;
  }

  get ended(): boolean {
    return this.#rows.ended;
  }

  get more(): boolean {
    return this.#rows.more;
  }

  get count(): number {
    return this.#rows.count;
  }

  next(rowsMax: number, bytesMax: number): MaybePromise<readonly Row[]> {
    const rows = this.#rows.next(rowsMax, bytesMax);
    return isPromise(rows) ? rows.then((found) => this.#checked(found)) : this.#checked(rows);
  }

  again(): RangeCursor {
    return new PermittedRange(this.#rows.again(), this.#access, this.#permittedBy);
  }

  close(): void {
    this.#rows.close?.();
  }

  #checked(rows: readonly Row[]): readonly Row[] {
    this.#access.unchanged(this.#permittedBy);
    return rows;
  }
}
