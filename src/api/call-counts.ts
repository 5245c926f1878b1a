import type { TxnResult } from "../engine/engine.ts";

/** Clients name their own versions: no more of them than this are told apart. */
const VERSIONS_MAX = 100;
const OTHER_VERSIONS = "other";

/**
 * How often each method was called and how the calls ended, for the metrics grpc_server_started_total and
 * …_handled_total; and what is counted by other things than methods.
 */
export class CallCounts {
  readonly methods = new Map<string, MethodCounts>();
  /** Ranges read, those in transactions too. */
  ranges = 0;
  /** Transactions that carried out more than one operation: etcd counts no others. */
  txns = 0;
  leasesRenewed = 0;
  /** Told of the time that each lease was granted, in seconds. */
  onLeaseGranted: (ttlSeconds: number) => void = () => {};
  /** Calls by what clients say of their version (B1.10). */
  readonly versions = new Map<string, { unary: number; stream: number }>();

  /** A call by a client of this version; null: it did not say. */
  admitted(version: string | null, type: "unary" | "stream"): void {
    let name = version ?? "unknown";
    let counts = this.versions.get(name);
    if (counts === undefined) {
      if (this.versions.size >= VERSIONS_MAX) name = OTHER_VERSIONS;
      counts = this.versions.get(name) ?? { unary: 0, stream: 0 };
      this.versions.set(name, counts);
    }
    counts[type]++;
  }

  /** A transaction's answer, with those of its nested ones. */
  txnDone(result: TxnResult): void {
    const { ranges, writes } = operationsOf(result);
    this.ranges += ranges;
    if (ranges + writes > 1) this.txns++;
  }

  of(path: string, type: MethodType): MethodCounts {
    let counts = this.methods.get(path);
    if (counts === undefined) {
      counts = new MethodCounts(path, type);
      this.methods.set(path, counts);
    }
    return counts;
  }
}

function operationsOf(result: TxnResult, sums = { ranges: 0, writes: 0 }): { ranges: number; writes: number } {
  for (const response of result.responses) {
    if (response.kind === "txn") operationsOf(response, sums);
    else if (response.kind === "range") sums.ranges++;
    else sums.writes++;
  }
  return sums;
}

export type MethodType = "unary" | "bidi_stream" | "server_stream";

const CODES = 17;

export class MethodCounts {
  readonly path: string;
  readonly type: MethodType;
  started = 0;
  /** By gRPC status code. */
  readonly handled: number[] = new Array<number>(CODES).fill(0);

  constructor(path: string, type: MethodType) {
    this.path = path;
    this.type = type;
  }

  ended(code: number): void {
    const known = code >= 0 && code < CODES ? code : 2;
    this.handled[known] = this.handled[known]! + 1;
  }
}
