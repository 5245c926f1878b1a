import { connect } from "node:http2";
import { parentPort, workerData } from "node:worker_threads";
import { create, toBinary } from "@bufbuild/protobuf";
import { PutRequestSchema, RangeRequestSchema } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { call } from "./flood.ts";

/**
 * A client that does no harm, on a thread and a connection of its own: it puts and gets one key, one call after the
 * other, until it is told to stop, and tells how long each took. It says when the first ones are answered.
 */
const PAUSE_MS = 5;
const key = Buffer.from("bystander");
const put = toBinary(PutRequestSchema, create(PutRequestSchema, { key, value: Buffer.alloc(100, "v") }));
const range = toBinary(RangeRequestSchema, create(RangeRequestSchema, { key }));

let stopped = false;
let begun = false;
parentPort!.once("message", () => {
  stopped = true;
});
const { url, token } = workerData as { url: string; token?: string };
const session = connect(url, { rejectUnauthorized: false });
session.on("error", () => {});
const millis: number[] = [];
const failures: string[] = [];
while (!stopped) {
  for (const [path, message] of [
    ["/etcdserverpb.KV/Put", put],
    ["/etcdserverpb.KV/Range", range],
  ] as const) {
    const startedMs = performance.now();
    const end = await call(session, path, message, token);
    if (end === "0") millis.push(performance.now() - startedMs);
    else failures.push(end);
  }
  if (!begun) parentPort!.postMessage("begun");
  begun = true;
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}
session.destroy();
parentPort!.postMessage({ millis, failures });
