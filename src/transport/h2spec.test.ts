import { deepEqual } from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { Sample, sampleSettings } from "../../test/transport/sample-server.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { createTransport } from "./server.ts";

const h2spec = findProgram("h2spec");

function findProgram(name: string): string | undefined {
  const folders = [join(process.env["PEERS"] ?? "/opt/peers", "bin"), ...(process.env["PATH"] ?? "").split(":")];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

test("h2spec: generic, http2 and hpack", { skip: h2spec === undefined && "h2spec was not found" }, async () => {
  const runtime = createNodeRuntime();
  const sample = new Sample();
  const routes = { unary: sample.unary, streams: sample.streaming, http: sample.http };
  const settings = { ...sampleSettings, concurrentStreamsMax: 100 };
  const transport = createTransport(runtime, routes, settings, (bug) => sample.bugs.push(bug));
  const listener = await runtime.net.listen({ host: "127.0.0.1", port: 0 }, (stream) => transport.accept(stream));
  const args = ["generic", "http2", "hpack", "-h", "127.0.0.1", "-p", String(listener.port), "-P", "/health"];
  // It answers failures with exit code 1: what it printed is the message.
  const { stdout } = await promisify(execFile)(h2spec!, args, { timeout: 120_000 }).catch((error: unknown) => {
    return { stdout: `${(error as { stdout?: string }).stdout ?? ""}\n${String(error)}` };
  });
  const failures = stdout.slice(stdout.indexOf("Failures:"));
  deepEqual(/(\d+) failed/.exec(stdout)?.[1], "0", failures);
  deepEqual(sample.bugs, []);
  await listener.close();
  transport.destroy();
});
