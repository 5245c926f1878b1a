/**
 * How often each method was called and how the calls ended, for the metrics grpc_server_started_total and
 * …_handled_total.
 */
export class CallCounts {
  readonly methods = new Map<string, MethodCounts>();

  of(path: string, type: MethodType): MethodCounts {
    let counts = this.methods.get(path);
    if (counts === undefined) {
      counts = new MethodCounts(path, type);
      this.methods.set(path, counts);
    }
    return counts;
  }
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
