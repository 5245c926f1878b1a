import { spawn } from "node:child_process";
import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { RangeRequestSchema } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { memoryMiB } from "../bench/measure.ts";
import { answering, stop, t4Args, t4Command } from "../bench/systems.ts";
import type { Place } from "./database.ts";
import type { Figures } from "./library-cases.ts";

const STREAMED_BYTES = 1_000_000_000;
const SAMPLE_MS = 20;

/** How much a server's memory grows by sending about 1 GB, or all that there is, in one RangeStream. */
export async function streamCase(place: Place): Promise<Figures> {
  const port = 24_000 + Math.floor(Math.random() * 5000) * 2;
  const args = t4Args(place.dataDirectory, port, [`--store=${place.store}`]);
  const child = spawn(t4Command, args, { stdio: ["ignore", "ignore", "inherit"] });
  const endpoint = `127.0.0.1:${port}`;
  try {
    await answering(`http://${endpoint}/health`, child);
    // What it takes to begin with is not growth.
    await streamed(endpoint, STREAMED_BYTES / 1000);
    const beforeMiB = memoryMiB(child.pid!, "VmRSS");
    let mostMiB = beforeMiB;
    const watch = setInterval(() => {
      mostMiB = Math.max(mostMiB, memoryMiB(child.pid!, "VmRSS"));
    }, SAMPLE_MS);
    const beganMs = performance.now();
    const bytes = await streamed(endpoint, STREAMED_BYTES);
    const seconds = (performance.now() - beganMs) / 1000;
    clearInterval(watch);
    return { megabytes: bytes / 1e6, megabytesPerSecond: bytes / 1e6 / seconds, growthMiB: mostMiB - beforeMiB };
  } finally {
    await stop({ name: "t4", endpoint, processes: [child] });
  }
}

/** Takes a RangeStream over all keys until `bytesMax` have come; returns how many came. */
async function streamed(endpoint: string, bytesMax: number): Promise<number> {
  const message = toBinary(
    RangeRequestSchema,
    create(RangeRequestSchema, { key: Buffer.from("\0"), rangeEnd: Buffer.from("\0") }),
  );
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  const session = connect(`http://${endpoint}`);
  try {
    return await new Promise<number>((resolve, reject) => {
      const headers = { ":method": "POST", ":path": "/etcdserverpb.KV/RangeStream", te: "trailers" };
      const stream = session.request({ ...headers, "content-type": "application/grpc" });
      let bytes = 0;
      let status = "none";
      session.on("error", reject);
      stream.on("error", reject);
      stream.on("trailers", (trailers) => {
        status = String(trailers["grpc-status"]);
      });
      stream.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes >= bytesMax) resolve(bytes);
      });
      stream.on("end", () => (status === "0" ? resolve(bytes) : reject(new Error(`RangeStream ended with ${status}`))));
      stream.end(frame);
    });
  } finally {
    session.destroy();
  }
}
