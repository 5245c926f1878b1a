import { assert } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";
import { AT_HEAD, spaces, type Tree } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import type { TxnRequest } from "../engine.ts";
import { recordKinds } from "../record.ts";
import { type Alarm, type AlarmRequest, type AlarmResult, alarmTypes } from "./maintenance.ts";
import { txnCost } from "./quota.ts";

/** etcd has no bound: whoever may raise alarms may raise one of each number of each member. */
const ALARMS_MAX = 1000;
const KEY_BYTES = 12;
const NOTHING = new Uint8Array(0);

/**
 * The alarms of a branch (M2). NOSPACE refuses what adds to the state, CORRUPT every change; both let reads pass, and
 * NOSPACE also deletes and compactions, which are the way out.
 *
 * What is sequenced is held against the alarms sequenced before it; readers see those that are durable.
 */
export class Alarms {
  readonly #head = new Map<string, Alarm>();
  #committed: readonly Alarm[] = [];
  #noSpace = false;
  #corrupt = false;

  static async read(tree: Tree): Promise<Alarms> {
    const alarms = new Alarms();
    const stored = await tree.scan(spaces.alarms, { from: "", to: null }, AT_HEAD, { limit: 0 });
    for (const { key } of stored) alarms.#head.set(key, decodeKey(key));
    alarms.#changed();
    alarms.#committed = alarms.#sorted();
    return alarms;
  }

  /** As readers see them. */
  get committed(): readonly Alarm[] {
    return this.#committed;
  }

  /** As of the head. */
  get sequenced(): readonly Alarm[] {
    return this.#sorted();
  }

  /** For what adds to the state: puts, transactions that may put, grants of leases. */
  checkGrowth(): void {
    if (this.#corrupt) throw new DbError("corruptCluster");
    if (this.#noSpace) throw new DbError("noSpace");
  }

  /** For every other change. */
  checkChange(): void {
    if (this.#corrupt) throw new DbError("corruptCluster");
  }

  /** NOSPACE refuses one that could put, whichever branch it would take. */
  checkTxn(request: TxnRequest): void {
    if (!this.#corrupt && !this.#noSpace) return;
    if (this.#corrupt) throw new DbError("corruptCluster");
    if (txnCost(request) > 0) throw new DbError("noSpace");
  }

  /** An evaluation (sequencer.ts). */
  evaluate(draft: Draft, { action, memberId, type }: AlarmRequest): AlarmResult {
    const { revision } = draft;
    if (action === "get") {
      const alarms = this.#sorted().filter((alarm) => type === alarmTypes.none || alarm.type === type);
      return { alarms, revision };
    }
    if (type === alarmTypes.none) return { alarms: [], revision };
    const alarm: Alarm = { memberId: BigInt.asUintN(64, memberId), type };
    const key = alarmRecordKey(alarm);
    const isRaised = this.#head.has(key);
    if (action === "activate") {
      if (!isRaised) this.#raise(draft, key, alarm);
      return { alarms: [alarm], revision };
    }
    if (!isRaised) return { alarms: [], revision };
    draft.kind = recordKinds.alarm;
    draft.entry(spaces.alarms, key, null, -1);
    this.#head.delete(key);
    this.#changedBy(draft);
    return { alarms: [alarm], revision };
  }

  #raise(draft: Draft, key: string, alarm: Alarm): void {
    if (this.#head.size >= ALARMS_MAX)
      throw new DbError("invalidArgument", `t4: at most ${ALARMS_MAX} alarms can be raised at a time`);
    draft.kind = recordKinds.alarm;
    draft.entry(spaces.alarms, key, NOTHING, 1);
    this.#head.set(key, alarm);
    this.#changedBy(draft);
  }

  #changedBy(draft: Draft): void {
    this.#changed();
    const committed = this.#sorted();
    draft.afterCommit = () => {
      this.#committed = committed;
    };
  }

  #changed(): void {
    const types = new Set([...this.#head.values()].map((alarm) => alarm.type));
    this.#noSpace = types.has(alarmTypes.noSpace);
    this.#corrupt = types.has(alarmTypes.corrupt);
  }

  #sorted(): Alarm[] {
    return [...this.#head].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, alarm]) => alarm);
  }
}

/** Member id, 8 bytes, and type, 4 bytes, both big-endian (docs/formats/record.md). */
export function alarmRecordKey({ memberId, type }: Alarm): string {
  assert(type === (type | 0), "an alarm's type is an int32");
  const bytes = Buffer.alloc(KEY_BYTES);
  bytes.writeInt32BE(type, bytes.writeBigUInt64BE(memberId, 0));
  return bytes.latin1Slice();
}

function decodeKey(key: string): Alarm {
  const bytes = Buffer.from(key, "latin1");
  if (bytes.length !== KEY_BYTES) throw new DbError("corrupt", `a stored alarm has a key of ${bytes.length} bytes`);
  return { memberId: bytes.readBigUInt64BE(0), type: bytes.readInt32BE(8) };
}
