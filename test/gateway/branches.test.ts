import { deepEqual, equal } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { request } from "node:http";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { KV } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes, EtcdClient, text } from "../compat/client.ts";
import { startServer } from "../compat/server-runner.ts";
import { SocketEndpoint } from "../compat/socket-endpoint.ts";
import { Transcript } from "../compat/transcript.ts";

const program = fileURLToPath(new URL("../../bin/t4", import.meta.url));
const b64 = (value: string): string => Buffer.from(value).toString("base64");

interface Answer {
  status: number;
  body: { kvs?: { value: string }[]; message?: string };
}

function post(address: string, path: string, body: object, headers: Record<string, string>): Promise<Answer> {
  const [host, port] = address.split(":") as [string, string];
  return new Promise((resolve, reject) => {
    const call = request({ host, port, path, method: "POST", headers }, (response) => {
      let heard = "";
      response.on("data", (chunk: Buffer) => {
        heard += chunk.toString();
      });
      response.on("end", () => resolve({ status: response.statusCode!, body: JSON.parse(heard) as Answer["body"] }));
    });
    call.on("error", reject);
    call.end(JSON.stringify(body));
  });
}

test("B1.14 B1.15 the gateway's calls are for the branch that Grpc-Metadata-T4-Branch or the host names", {
  timeout: 120_000,
}, async () => {
  const server = await startServer();
  const endpoint = new SocketEndpoint(server.address);
  try {
    const client = new EtcdClient(endpoint, new Transcript());
    await client.put("k", "main");
    const made = spawnSync(program, ["branch", "create", "dev", "--endpoints", server.address], { encoding: "utf8" });
    equal(made.status, 0, made.stderr);
    await client.call(KV.method.put, { key: bytes("k"), value: bytes("dev") }, { "t4-branch": "dev" });
    const valueFor = async (headers: Record<string, string>): Promise<string> => {
      const { status, body } = await post(server.address, "/v3/kv/range", { key: b64("k") }, headers);
      return status === 200 ? text(Buffer.from(body.kvs![0]!.value, "base64")) : `${status} ${body.message}`;
    };
    const port = server.address.split(":")[1]!;
    deepEqual(
      {
        none: await valueFor({}),
        header: await valueFor({ "Grpc-Metadata-t4-branch": "dev" }),
        headerOfMain: await valueFor({ "Grpc-Metadata-T4-Branch": "main" }),
        host: await valueFor({ host: `dev.localhost:${port}` }),
        headerBeforeHost: await valueFor({ host: `dev.localhost:${port}`, "Grpc-Metadata-t4-branch": "main" }),
        unknown: await valueFor({ "Grpc-Metadata-t4-branch": "nosuch" }),
      },
      {
        none: "main",
        header: "dev",
        headerOfMain: "main",
        host: "dev",
        headerBeforeHost: "main",
        unknown: "404 there is no branch named nosuch",
      },
    );
    await post(server.address, "/v3/kv/put", { key: b64("k"), value: b64("dev 2") }, { host: "dev.localhost" });
    equal(await valueFor({ host: "dev.localhost" }), "dev 2");
    equal(await valueFor({}), "main");
  } finally {
    await endpoint.close();
    await server.stop();
  }
});
