import { readFile } from "node:fs/promises";
import { type ClientHttp2Session, connect } from "node:http2";

/** Many connections, each with many calls under way at once, for a while: what they were answered, and what it took. */
export interface Flood {
  /** host:port */
  readonly address: string;
  readonly pid: number;
  readonly path: string;
  /** The n-th call's message. */
  readonly message: (n: number) => Uint8Array;
  readonly connections: number;
  /** Calls under way on each connection. */
  readonly outstanding: number;
  readonly seconds: number;
}

export interface Flooded {
  calls: number;
  /** How calls ended, by code and text. */
  readonly ends: Map<string, number>;
  /** Of the server, before and at most. */
  residentBytes: number;
  residentBytesMax: number;
}

const SAMPLE_MS = 100;
/** For calls under way to be answered, once no more are made. */
const DRAIN_MS = 60_000;

export async function flood(options: Flood): Promise<Flooded> {
  const flooded: Flooded = {
    calls: 0,
    ends: new Map(),
    residentBytes: await residentBytes(options.pid),
    residentBytesMax: 0,
  };
  const sampler = setInterval(async () => {
    const now = await residentBytes(options.pid).catch(() => 0);
    flooded.residentBytesMax = Math.max(flooded.residentBytesMax, now);
  }, SAMPLE_MS);
  const sessions = Array.from({ length: options.connections }, () => connect(`http://${options.address}`));
  const deadlineMs = performance.now() + options.seconds * 1000;
  try {
    await Promise.all(
      sessions.flatMap((session) => {
        session.setMaxListeners(0);
        session.on("error", () => {});
        return Array.from({ length: options.outstanding }, () => callUntil(session, deadlineMs, options, flooded));
      }),
    );
  } finally {
    clearInterval(sampler);
    for (const session of sessions) session.destroy();
  }
  return flooded;
}

async function callUntil(
  session: ClientHttp2Session,
  deadlineMs: number,
  options: Flood,
  flooded: Flooded,
): Promise<void> {
  while (performance.now() < deadlineMs && !session.destroyed) {
    const end = await call(session, options.path, options.message(flooded.calls++));
    flooded.ends.set(end, (flooded.ends.get(end) ?? 0) + 1);
  }
}

/** A unary call; how it ended: "0", or code and text. */
export function call(session: ClientHttp2Session, path: string, message: Uint8Array, token?: string): Promise<string> {
  return new Promise((resolve) => {
    if (session.destroyed) {
      resolve("no connection");
      return;
    }
    const stream = session.request({
      ...{ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" },
      ...(token === undefined ? {} : { token }),
    });
    let end: string | null = null;
    const take = (headers: Record<string, unknown>): void => {
      if (headers["grpc-status"] === undefined) return;
      const text = headers["grpc-message"];
      end = `${headers["grpc-status"]}${text === undefined || text === "" ? "" : ` ${text}`}`;
    };
    stream.on("response", take);
    stream.on("trailers", take);
    stream.on("error", () => {});
    stream.on("close", () => resolve(end ?? `reset ${stream.rstCode}`));
    stream.setTimeout(DRAIN_MS, () => stream.close());
    stream.resume();
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
  });
}

/** Of a process, as the kernel counts it. */
export async function residentBytes(pid: number): Promise<number> {
  const found = /VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, "utf8"));
  // One that is ending has none any more.
  return found === null ? 0 : Number(found[1]) * 1024;
}
