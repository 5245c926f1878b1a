import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectH2 } from "node:http2";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type MadeCertificate, makeRevocationList } from "../../src/server/tls/certificate.ts";
import { freePorts } from "../contract/free-port.ts";
import { Authority } from "./certificates.ts";

// The server as a process, started with the flags by which others start etcd, over TLS.

const program = fileURLToPath(new URL("../../bin/t4", import.meta.url));
const etcdctl = join(process.env["PEERS"] ?? "/opt/peers", "bin", "etcdctl");
const directory = mkdtempSync(join(tmpdir(), "t4-kubeadm-"));
const path = (name: string): string => join(directory, name);
const authority = new Authority("etcd-ca");
const server = authority.server(["127.0.0.1", "localhost", "control-plane"]);
const client = authority.client("kube-apiserver-etcd-client");
const running = new Set<ChildProcess>();
after(async () => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

writeFileSync(path("ca.crt"), authority.pem);
for (const [name, made] of [["server", server] as const, ["client", client] as const]) {
  writeFileSync(path(`${name}.crt`), made.certificatePem);
  writeFileSync(path(`${name}.key`), made.keyPem);
}

interface Started {
  stderr(): string;
  stop(): Promise<number | null>;
}

async function start(flags: readonly string[], env: Record<string, string> = {}): Promise<Started> {
  const child = spawn(program, ["run", ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...env },
  });
  running.add(child);
  let stderr = "";
  child.stderr!.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const late = AbortSignal.timeout(20_000);
  while (!stderr.includes("ready to serve client requests")) {
    if (late.aborted || child.exitCode !== null) throw new Error(`did not start: ${stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    stderr: () => stderr,
    stop: () => {
      child.kill("SIGTERM");
      return ended.finally(() => running.delete(child));
    },
  };
}

/** GET or POST over TLS and HTTP/1.1; rejects where the connection is refused. */
function https(
  port: number,
  target: string,
  { as = client, body }: { as?: MadeCertificate | null; body?: string } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const pair = as === null ? {} : { cert: as.certificatePem, key: as.keyPem };
    const method = body === undefined ? "GET" : "POST";
    const options = { host: "127.0.0.1", port, path: target, method, ca: authority.pem, agent: false, ...pair };
    const sent = request(options, (response) => {
      let text = "";
      response.on("data", (chunk) => (text += String(chunk)));
      response.on("end", () => resolve(`${response.statusCode} ${text}`));
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** One gRPC call over TLS: its status, or a rejection. */
function grpc(port: number, grpcPath: string, as: MadeCertificate): Promise<string> {
  return new Promise((resolve, reject) => {
    const session = connectH2(`https://127.0.0.1:${port}`, {
      ca: authority.pem,
      cert: as.certificatePem,
      key: as.keyPem,
    });
    session.on("error", reject);
    session.on("close", () => reject(new Error("the connection was closed")));
    const call = session.request({
      ":path": grpcPath,
      ":method": "POST",
      "content-type": "application/grpc",
      te: "trailers",
    });
    call.on("error", reject);
    call.on("response", (headers) => {
      if (headers["grpc-status"] !== undefined) resolve(String(headers["grpc-status"]));
    });
    call.on("trailers", (trailers) => {
      resolve(String(trailers["grpc-status"]));
      session.close();
    });
    call.resume();
    call.end(Buffer.from([0, 0, 0, 0, 0]));
  });
}

test("kubeadm's manifest of etcd, with the command swapped, starts and serves", async () => {
  const [clientPort, otherPort, metricsPort, peerPort] = await freePorts(4);
  const pki = (name: string): string => path(name);
  const flags = [
    `--advertise-client-urls=https://127.0.0.1:${clientPort}`,
    `--cert-file=${pki("server.crt")}`,
    "--client-cert-auth=true",
    `--data-dir=${path("kubeadm-data")}`,
    "--experimental-initial-corrupt-check=true",
    "--experimental-watch-progress-notify-interval=5s",
    "--feature-gates=InitialCorruptCheck=true",
    `--initial-advertise-peer-urls=https://127.0.0.1:${peerPort}`,
    `--initial-cluster=control-plane=https://127.0.0.1:${peerPort}`,
    `--key-file=${pki("server.key")}`,
    `--listen-client-urls=https://127.0.0.1:${clientPort},https://127.0.0.1:${otherPort}`,
    `--listen-metrics-urls=http://127.0.0.1:${metricsPort}`,
    `--listen-peer-urls=https://127.0.0.1:${peerPort}`,
    "--name=control-plane",
    `--peer-cert-file=${pki("peer.crt")}`,
    "--peer-client-cert-auth=true",
    `--peer-key-file=${pki("peer.key")}`,
    `--peer-trusted-ca-file=${pki("ca.crt")}`,
    "--snapshot-count=10000",
    `--trusted-ca-file=${pki("ca.crt")}`,
  ];
  const t4 = await start(flags, { ETCD_UNSUPPORTED_ARCH: "arm64" });
  const probe = async (target: string) => (await fetch(`http://127.0.0.1:${metricsPort}${target}`)).status;
  for (const target of ["/livez", "/readyz?exclude=non_learner", "/health?serializable=true", "/metrics"]) {
    equal(await probe(target), 200, target);
  }
  equal(await probe("/v3/kv/range"), 404);
  equal(await https(clientPort!, "/health"), '200 {"health":"true","reason":""}');
  equal(await https(otherPort!, "/health"), '200 {"health":"true","reason":""}');
  equal(await grpc(clientPort!, "/etcdserverpb.Maintenance/Status", client), "0");
  await rejects(https(clientPort!, "/health", { as: null }));
  if (existsSync(etcdctl)) {
    const tls = ["--cacert", path("ca.crt"), "--cert", path("client.crt"), "--key", path("client.key")];
    const run = (...args: string[]) =>
      promisify(execFile)(etcdctl, [...tls, "--endpoints", `https://127.0.0.1:${clientPort}`, ...args]);
    equal((await run("put", "a", "b")).stdout, "OK\n");
    match((await run("endpoint", "health")).stderr + (await run("endpoint", "health")).stdout, /is healthy/);
  }
  const warned = t4.stderr().match(/--[a-z-]+ has no effect: .+/g) ?? [];
  deepEqual(
    warned.map((line) => line.split(" ")[0]!).sort(),
    [
      ...["--experimental-initial-corrupt-check", "--feature-gates", "--initial-advertise-peer-urls"],
      ...["--initial-cluster", "--listen-peer-urls", "--peer-cert-file", "--peer-client-cert-auth", "--peer-key-file"],
      ...["--peer-trusted-ca-file", "--snapshot-count"],
    ].sort(),
  );
  equal(await t4.stop(), 0);
});

/** GHSA-3wh4-j44w-pg92: with addresses of its own for HTTP, the list was followed only there. */
test("a certificate that was taken back is refused at every address, whatever is served there", async () => {
  const [grpcPort, httpPort, metricsPort] = await freePorts(3);
  const revoked = authority.client("revoked");
  writeFileSync(path("crl.pem"), makeRevocationList(authority.made.issuer, [revoked.serialHex], Date.now()));
  const t4 = await start([
    ...["--data-dir", path("crl-data"), "--store", "memory:"],
    ...["--cert-file", path("server.crt"), "--key-file", path("server.key"), "--trusted-ca-file", path("ca.crt")],
    ...["--client-cert-auth", "--client-crl-file", path("crl.pem")],
    ...["--listen-client-urls", `https://127.0.0.1:${grpcPort}`],
    ...["--listen-client-http-urls", `https://127.0.0.1:${httpPort}`],
    ...["--listen-metrics-urls", `https://127.0.0.1:${metricsPort}`],
  ]);
  const range = "/etcdserverpb.Maintenance/Status";
  equal(await grpc(grpcPort!, range, client), "0");
  match(await https(httpPort!, "/v3/kv/range", { body: '{"key":"YQ=="}' }), /^200 /);
  match(await https(metricsPort!, "/health"), /^200 /);
  // Each address serves its own alone.
  match(await https(grpcPort!, "/health"), /^404 /);
  equal(await grpc(httpPort!, range, client), "12");
  match(await https(metricsPort!, "/v3/kv/range", { body: "{}" }), /^404 /);
  await rejects(grpc(grpcPort!, range, revoked));
  await rejects(https(httpPort!, "/health", { as: revoked }));
  await rejects(https(metricsPort!, "/health", { as: revoked }));
  await t4.stop();
  equal(t4.stderr().match(/certificate revoked/g)?.length, 3);
});

test("--auto-tls, unixs://, --log-outputs; t4's own commands by TLS", async () => {
  const [port] = await freePorts(1);
  const socket = path("t4.sock");
  const log = path("t4.log");
  const t4 = await start([
    ...["--data-dir", path("auto-data"), "--auto-tls", "--self-signed-cert-validity", "2"],
    ...["--listen-client-urls", `https://127.0.0.1:${port},unixs://${socket}`],
    ...["--log-outputs", `stderr,${log}`, "--log-format", "json", "--auto-compaction-retention", "1h"],
  ]);
  const made = path("auto-data/fixtures/client/cert.pem");
  const run = (...args: string[]) => promisify(execFile)(program, args);
  const where = ["--endpoints", `https://127.0.0.1:${port}`, "--cacert", made];
  equal((await run("put", "a", "b", ...where)).stdout, "OK\n");
  equal((await run("get", "a", "--endpoints", `127.0.0.1:${port}`, "--cacert", made)).stdout, "a\nb\n");
  equal((await run("get", "a", "--endpoints", `unixs://${socket}`, "--cacert", made)).stdout, "a\nb\n");
  equal(
    (await run("get", "a", "--endpoints", `https://127.0.0.1:${port}`, "--insecure-skip-tls-verify")).stdout,
    "a\nb\n",
  );
  await rejects(run("get", "a", "--endpoints", `https://127.0.0.1:${port}`, "--dial-timeout", "500ms"));
  match((await run("status", ...where)).stdout, /main|revision/);
  const [line] = readFileSync(log, "utf8").split("\n");
  ok(typeof (JSON.parse(line!) as { msg: string }).msg === "string");
  equal(await t4.stop(), 0);
  // The certificate is kept: clients may have been given it.
  const before = readFileSync(made, "utf8");
  const again = await start([
    ...["--data-dir", path("auto-data"), "--auto-tls"],
    ...["--listen-client-urls", `https://127.0.0.1:${port}`],
  ]);
  equal(readFileSync(made, "utf8"), before);
  await again.stop();
});
