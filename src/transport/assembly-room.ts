import { assert } from "../base/assert.ts";
import type { AssemblyBudget } from "./grpc-deframer.ts";
import { ASSEMBLY_BYTES_MIN, ASSEMBLY_MESSAGES_MAX } from "./limits.ts";
import type { TransportSettings } from "./transport.ts";

/**
 * Room for what has come of requests that are not complete, on all connections. When it is used up, who holds most of
 * it loses that: a few clients that begin many large requests and end none keep nobody else from a large one.
 */
export class AssemblyRoom {
  /** Reserved by all budgets. */
  bytes = 0;
  readonly #bytesMax: number;
  readonly #holders = new Set<ConnectionBudget>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** False: whoever holds more than `asking` would with `bytes` more has nothing to give up. */
  make(bytes: number, asking: ConnectionBudget): boolean {
    while (this.bytes + bytes > this.#bytesMax) {
      let most: ConnectionBudget | null = null;
      for (const holder of this.#holders) {
        if (holder !== asking && holder.held > (most?.held ?? asking.held + bytes)) most = holder;
      }
      if (most === null) return false;
      const before = most.held;
      most.giveUp();
      if (most.held >= before) return false;
    }
    return true;
  }

  changed(holder: ConnectionBudget, bytes: number): void {
    this.bytes += bytes;
    assert(this.bytes >= 0, "no more is given back than was reserved");
    if (holder.held > 0) this.#holders.add(holder);
    else this.#holders.delete(holder);
  }
}

/** What one connection holds of the room. */
export class ConnectionBudget implements AssemblyBudget {
  held = 0;
  /** Ends what the connection has not complete, which releases what that holds. */
  readonly giveUp: () => void;
  readonly #room: AssemblyRoom;
  readonly #bytesMax: number;

  constructor(room: AssemblyRoom, settings: TransportSettings, giveUp: () => void) {
    this.#room = room;
    this.#bytesMax = Math.max(ASSEMBLY_MESSAGES_MAX * settings.messageBytesMax, ASSEMBLY_BYTES_MIN);
    this.giveUp = giveUp;
  }

  reserve(bytes: number): boolean {
    if (this.held + bytes > this.#bytesMax || !this.#room.make(bytes, this)) return false;
    this.held += bytes;
    this.#room.changed(this, bytes);
    return true;
  }

  release(bytes: number): void {
    if (bytes === 0) return;
    this.held -= bytes;
    assert(this.held >= 0, "no more is given back than was reserved");
    this.#room.changed(this, -bytes);
  }
}
