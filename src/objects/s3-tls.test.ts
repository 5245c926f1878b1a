import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { startScriptedS3 } from "../../test/contract/scripted-s3.ts";
import { Authority } from "../../test/tls/certificates.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { repositoryKey } from "./keys.ts";
import { openStore, type StoreSurroundings } from "./open-store.ts";
import { parseStoreUrl } from "./store-url.ts";

const runtime = createNodeRuntime();
const credentials = async () => ({ accessKeyId: "AKID", secretAccessKey: "secret" });
const authority = new Authority("authority");
const directory = await mkdtemp(join(tmpdir(), "t4-s3-tls-"));
const caFile = join(directory, "ca.pem");
await writeFile(caFile, authority.pem);
after(() => rm(directory, { recursive: true }));
const timeoutMs = 5000;

/** A server whose certificate is for `host`, and a store of it. */
async function scene(options: { ca?: boolean; host?: string; plain?: boolean; surroundings?: StoreSurroundings }) {
  const { ca = true, host = "127.0.0.1", plain = false, surroundings } = options;
  const { keyPem: key, certificatePem: cert } = authority.server([host]);
  const server = await startScriptedS3(
    () => ({ status: 200, headers: { etag: '"e"' }, body: "body" }),
    plain ? undefined : { key, cert },
  );
  const endpoint = server.endpoint.replace("http:", "https:");
  const url = `s3://bucket?endpoint=${endpoint}&path-style=true${ca ? `&ca=${caFile}` : ""}`;
  const store = await openStore(parseStoreUrl(url), runtime, { credentials, ...surroundings });
  const close = async () => {
    await store.close();
    await server.close();
  };
  return { server, store, [Symbol.asyncDispose]: close };
}

test("over TLS, with the authority that is named", async () => {
  await using world = await scene({});
  equal((await world.store.get(repositoryKey, { timeoutMs }))?.body.toString(), "body");
  const put = await world.store.put(repositoryKey, Buffer.from("x"), { timeoutMs, condition: { kind: "absent" } });
  equal(put.kind, "written");
});

test("over TLS through a proxy, which sees a tunnel", async () => {
  const tunnels: (string | undefined)[][] = [];
  const proxy = createServer((_, response) => response.writeHead(500).end());
  proxy.on("connect", (request, socket) => {
    tunnels.push([request.url, request.headers["proxy-authorization"]]);
    const [host, port] = request.url!.split(":");
    const onward = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.pipe(socket);
      socket.pipe(onward);
    });
    onward.on("error", () => socket.destroy());
    socket.on("error", () => onward.destroy());
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const url = `http://user:pass@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  {
    await using world = await scene({ surroundings: { proxy: url } });
    for (let n = 0; n < 5; n++) equal((await world.store.get(repositoryKey, { timeoutMs }))?.bytes, 4);
    equal(world.server.seen[0]!.path, "/bucket/repository.json");
    ok(tunnels.length < 5, "a tunnel is used again");
    const [host, credentialsSent] = tunnels[0]!;
    deepEqual([host, credentialsSent], [world.server.endpoint.slice(8), `Basic ${btoa("user:pass")}`]);
  }
  proxy.closeAllConnections();
  proxy.close();
});

for (const [what, options, remedy] of [
  ["an authority that is not known", { ca: false }, /certificate is not trusted: name its authority by ca=FILE/],
  ["a certificate for another host", { host: "elsewhere.example" }, /certificate is not for the endpoint's host/],
  ["a server without TLS", { plain: true }, /does not speak TLS: an http endpoint\?/],
] as const) {
  test(`${what} is refused at once: no waiting mends it`, async () => {
    await using world = await scene(options);
    await rejects(world.store.get(repositoryKey, { timeoutMs }), (error: Error & { kind?: string }) => {
      return error.kind === "storeRefused" && remedy.test(error.message);
    });
    const put = await world.store.put(repositoryKey, Buffer.from("x"), { timeoutMs, condition: { kind: "absent" } });
    ok(put.kind === "refused" && !put.retryable && remedy.test(put.cause.message), JSON.stringify(put));
    equal(world.server.seen.length, 0);
  });
}
