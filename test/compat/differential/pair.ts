import { fromBinary } from "@bufbuild/protobuf";
import * as pb from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import type { Endpoint } from "../endpoint.ts";
import { type Answer, differenceOf, sameLeases, sameRange, sameTimeToLive, sameTxn } from "./compare.ts";
import { deleteInit, putInit, rangeInit, revisionOf, txnInit } from "./messages.ts";
import type { LeaseOperation, Operation, PeriodSpec } from "./operations.ts";
import { Side } from "./side.ts";

/** Two servers that are given the same operations, one after the other, and whose answers must be the same. */
export class Pair {
  readonly #left: Side;
  readonly #right: Side;
  /** The revision of the left one's newest answer. */
  #head = 1;

  constructor(left: Endpoint, right: Endpoint) {
    this.#left = new Side(left);
    this.#right = new Side(right);
  }

  async close(): Promise<void> {
    await Promise.all([this.#left.close(), this.#right.close()]);
  }

  /** Null, or how the answers differ. */
  async run(operation: Operation): Promise<string | null> {
    const head = this.#head;
    switch (operation.kind) {
      case "range": {
        const answers = await this.#both((side) => side.call(pb.KV.method.range, rangeInit(operation, head) as never));
        return differenceOf(pb.RangeResponseSchema, ...answers, (one, other) => sameRange(operation, one, other));
      }
      case "put": {
        const answers = await this.#both((side) => side.call(pb.KV.method.put, putInit(operation)));
        this.#notice(answers[0]);
        return differenceOf(pb.PutResponseSchema, ...answers);
      }
      case "delete": {
        const answers = await this.#both((side) => side.call(pb.KV.method.deleteRange, deleteInit(operation)));
        this.#notice(answers[0]);
        return differenceOf(pb.DeleteRangeResponseSchema, ...answers);
      }
      case "txn": {
        const answers = await this.#both((side) => side.call(pb.KV.method.txn, txnInit(operation, head)));
        this.#notice(answers[0]);
        return differenceOf(pb.TxnResponseSchema, ...answers, (one, other) => sameTxn(operation, one, other));
      }
      case "period":
        return this.#period(operation);
      default:
        return this.#lease(operation);
    }
  }

  async #lease(operation: LeaseOperation): Promise<string | null> {
    switch (operation.kind) {
      case "grant": {
        const init = { ID: BigInt(operation.id), TTL: BigInt(operation.ttl) };
        const answers = await this.#both((side) => side.call(pb.Lease.method.leaseGrant, init));
        return differenceOf(pb.LeaseGrantResponseSchema, ...answers);
      }
      case "revoke": {
        const init = { ID: BigInt(operation.id) };
        const answers = await this.#both((side) => side.call(pb.Lease.method.leaseRevoke, init));
        this.#notice(answers[0]);
        return differenceOf(pb.LeaseRevokeResponseSchema, ...answers);
      }
      case "keepAlive": {
        const answers = await this.#both((side) => side.keepAlive(BigInt(operation.id)));
        return differenceOf(pb.LeaseKeepAliveResponseSchema, ...answers);
      }
      case "timeToLive": {
        const init = { ID: BigInt(operation.id), keys: true };
        const answers = await this.#both((side) => side.call(pb.Lease.method.leaseTimeToLive, init));
        return differenceOf(pb.LeaseTimeToLiveResponseSchema, ...answers, sameTimeToLive);
      }
      case "leases": {
        const answers = await this.#both((side) => side.call(pb.Lease.method.leaseLeases, {}));
        return differenceOf(pb.LeaseLeasesResponseSchema, ...answers, sameLeases);
      }
    }
  }

  async #period({ compact, watches }: PeriodSpec): Promise<string | null> {
    const [left, right] = await this.#both((side) => side.endWatches(this.#head));
    for (const [i, told] of left.entries()) {
      if (told !== right[i]) return `watch ${i} was told\n    ${told}\n  but\n    ${right[i]}`;
    }
    if (compact !== null) {
      const init = { revision: revisionOf(compact, this.#head), physical: false };
      const answers = await this.#both((side) => side.call(pb.KV.method.compact, init));
      const difference = differenceOf(pb.CompactionResponseSchema, ...answers);
      if (difference !== null) return difference;
    }
    await this.#both((side) => side.beginWatches(watches, this.#head));
    return null;
  }

  async #both<T>(run: (side: Side) => Promise<T>): Promise<[left: T, right: T]> {
    return Promise.all([run(this.#left), run(this.#right)]);
  }

  /** Every response that is noticed has its header first, so that any schema will do to read it. */
  #notice(answer: Answer): void {
    if ("code" in answer) return;
    this.#head = Number(fromBinary(pb.CompactionResponseSchema, answer.bytes).header!.revision);
  }
}
