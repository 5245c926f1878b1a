import type { DbError } from "../../base/errors.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import type { Identity } from "../engine.ts";
import type { Evaluate } from "../sequencer.ts";
import { writeSetting } from "../write-setting.ts";
import { isReplaced, type Raised, type Replaced } from "./promotion.ts";
import { protectFromWrites, takesNoWrites } from "./write-protection.ts";

export interface BranchSettingsState {
  /** Another branch takes, or has taken, the place of this one: it takes no writes. */
  readonly replaced: Replaced | null;
  /** How it was made to go on from above another one, by the last promotion. */
  readonly raised: Raised | null;
  readonly writeProtected: boolean;
}

export interface BranchSettingsPort {
  readonly identity: Identity;
  run<Request, Result>(evaluate: Evaluate<Request, Result>, request: Request): MaybePromise<Result>;
  /** It takes writes again, after a time in which nothing expired. */
  readonly onWritesTaken: () => void;
}

/**
 * What is logged of a branch as a whole, as its leader knows it. Whom a promotion replaces does not change under one
 * leadership: the record that says so is its last.
 */
export class BranchSettings {
  readonly replaced: Replaced | null;
  readonly raised: Raised | null;
  readonly #port: BranchSettingsPort;
  #writeProtected: boolean;

  constructor({ replaced, raised, writeProtected }: BranchSettingsState, port: BranchSettingsPort) {
    this.replaced = replaced;
    this.raised = raised;
    this.#writeProtected = writeProtected;
    this.#port = port;
  }

  /** It takes no writes until that is lifted. */
  get writeProtected(): boolean {
    return this.#writeProtected;
  }

  /** Why it takes no writes, and nothing expires in it; null: it does. */
  get refusal(): DbError | null {
    const { identity } = this.#port;
    if (this.replaced !== null) return isReplaced(identity, this.replaced);
    return this.#writeProtected ? takesNoWrites(identity) : null;
  }

  get takesWrites(): boolean {
    return this.replaced === null && !this.#writeProtected;
  }

  /** Whether it takes writes, whoever leads it. What came before is carried out, what comes behind is refused. */
  async protectFromWrites(set: boolean): Promise<void> {
    const { identity } = this.#port;
    if (this.replaced !== null) throw isReplaced(identity, this.replaced);
    await this.#port.run(protectFromWrites, { identity, set });
    this.#writeProtected = set;
    if (!set) this.#port.onWritesTaken();
  }

  /** Logs any other setting (durability …); read back by `readSetting` (meta.ts). */
  write(name: string, value: string): MaybePromise<void> {
    return this.#port.run(writeSetting, { name, value });
  }
}
